"""`Parameters`: the checked values of one run, read-only, each with its source."""

from __future__ import annotations

from pystematic._words import did_you_mean, english_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn


_READ_ONLY = "the parameters of a run are read-only; dict(parameters) is a copy that can be changed"


class Parameters(dict[str, "Any"]):
    """The parameters of a run: a read-only mapping that also takes attribute access.

    ``parameters["lr"]`` and ``parameters.lr`` are the same; a method of mappings wins over a parameter of its name.
    It is a dict, so that `json.dumps`, ``dict(parameters)`` and ``**parameters`` work; copies and pickles keep the
    sources.
    A misspelt name raises `KeyError` (`AttributeError` for attributes) with the nearest name.

    Example:
        >>> parameters = Parameters({"lr": 0.1}, {"lr": "command line"})
        >>> parameters.lr, parameters.source_of("lr")
        (0.1, 'command line')
    """

    __slots__ = ("_secrets", "_sources")

    def __init__(
        self, values: Mapping[str, Any], sources: Mapping[str, str] | None = None, secrets: Iterable[str] = ()
    ) -> None:
        super().__init__(values)
        object.__setattr__(self, "_sources", dict(sources or {}))
        object.__setattr__(self, "_secrets", frozenset(secrets))

    def source_of(self, name: str) -> str:
        """Tell where a value came from, such as ``default``, ``file p.yaml:3`` or ``command line``.

        Raises:
            KeyError: there is no parameter of this name.
        """
        if name not in self:
            self.__missing__(name)
        return str(self._sources.get(name, "code"))

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(self._unknown(name))

    def __getattr__(self, name: str) -> Any:
        try:
            return dict.__getitem__(self, name)
        except KeyError:
            if name.startswith("__"):  # copy, pickle and inspection ask for these; they are never parameters
                raise AttributeError(name) from None
            raise AttributeError(self._unknown(name)) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"parameters.{name}: {_READ_ONLY}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"parameters.{name}: {_READ_ONLY}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self if name.isidentifier())]

    def __repr__(self) -> str:
        shown = {name: "<masked>" if name in self._secrets else value for name, value in self.items()}
        return f"Parameters({shown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self._sources, tuple(self._secrets))

    def __copy__(self) -> Parameters:
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain dict, which may be changed."""
        return dict(self)

    def _unknown(self, name: object) -> str:
        hint = did_you_mean(str(name), self)
        names = "" if hint else f" There are {english_list([repr(own) for own in self])}." if self else ""
        return f"there is no parameter {name!r}.{hint}{names}"

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(_READ_ONLY)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


# Functions, not attributes: an attribute would hide a user's parameter of its name.
def sources_of(parameters: Parameters) -> dict[str, str]:
    """Return the source of each parameter."""
    return dict(parameters._sources)


def secret_names_of(parameters: Parameters) -> frozenset[str]:
    """Return the names of the parameters that are masked in records and messages."""
    secrets: frozenset[str] = parameters._secrets
    return secrets
