"""`pystematic.output_dir` and `pystematic.params`: can be imported before the run that they speak of begins."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any, cast

import wrapt

from pystematic.errors import ExperimentError
from pystematic.run._current import when_current_changes

if TYPE_CHECKING:
    from pathlib import Path

    from pystematic.resolve import Parameters
    from pystematic.run._active import ActiveRun


class _NoRun:
    """What a proxy stands for while no run is active: false, and says so whatever is asked of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *_: object) -> Any:
        raise ExperimentError(
            f"pystematic.{self._name} is known only while an experiment runs, and none is running in this process."
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()

    __fspath__ = __getitem__ = __iter__ = __len__ = __contains__ = __truediv__ = __str__ = _refuse

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<pystematic.{self._name}: no experiment is running>"


class _Proxy(wrapt.ObjectProxy):  # type: ignore[type-arg,unused-ignore]
    def __fspath__(self) -> str:
        return str(os.fspath(self.__wrapped__))

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    # Copies and pickles are of what it stands for.
    def __copy__(self) -> Any:
        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce__(self) -> Any:
        return self.__wrapped__.__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


output_dir: Path = cast("Path", _Proxy(_NoRun("output_dir")))
params: Parameters = cast("Parameters", _Proxy(_NoRun("params")))


def _follow(run: ActiveRun | None) -> None:
    for proxy, target in (
        (output_dir, _NoRun("output_dir") if run is None else run.output_dir),
        (params, _NoRun("params") if run is None else run.parameters),
    ):
        cast("Any", proxy).__wrapped__ = target


when_current_changes(_follow)
