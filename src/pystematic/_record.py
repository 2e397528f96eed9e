"""`record`: an immutable class from its annotated fields, without the import of `dataclasses`.

`dataclasses` imports `inspect`, which alone costs more than the whole start-up budget leaves. Type checkers see the
real `dataclass(frozen=True)`; at run time a few lines give the same constructor, equality and repr.
"""
# ruff: noqa: N807 - the functions below become methods

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from typing_extensions import dataclass_transform

    Cls = TypeVar("Cls")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[Cls]) -> type[Cls]: ...
else:

    def record(cls: type) -> type:
        """Make ``cls`` immutable, with a constructor taking its annotated fields by position or name."""
        fields = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
        required = frozenset(fields) - defaults.keys()

        def __init__(self, *args, **kwargs) -> None:
            by_position = dict(zip(fields, args, strict=False))
            values = {**defaults, **by_position, **kwargs}
            twice = not by_position.keys().isdisjoint(kwargs)
            if len(values) != len(fields) or len(args) > len(fields) or twice:
                raise TypeError(
                    f"{cls.__name__}: missing {sorted(required - values.keys())}, "
                    f"unknown {sorted(values.keys() - set(fields))}, "
                    f"twice {sorted(by_position.keys() & kwargs.keys())}, {len(args)} by position"
                )
            self.__dict__.update(values)
            if post_init is not None:
                post_init(self)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{cls.__name__}.{name} is read-only")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(f"{cls.__name__}.{name} is read-only")

        def __repr__(self) -> str:
            inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields)
            return f"{cls.__name__}({inside})"

        def __eq__(self, other: object) -> bool:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return all(getattr(self, name) == getattr(other, name) for name in fields)

        def __hash__(self) -> int:
            return hash(tuple(getattr(self, name) for name in fields))

        post_init = cls.__dict__.get("__post_init__")
        methods = (__init__, __setattr__, __delattr__, __repr__, __eq__, __hash__)
        for method in methods:
            if method.__name__ not in cls.__dict__ or (method is __hash__ and cls.__dict__["__hash__"] is None):
                setattr(cls, method.__name__, method)
        cls.__match_args__ = fields
        return cls
