"""Numbers, pictures and files out of a run: the recorder, and the places where they go. Reads nothing of it back."""

from ._backend import Backend, RunFacts, ScalarBatch
from ._recorder import Recorder

__all__ = ["Backend", "Recorder", "RunFacts", "ScalarBatch", "SystemMetrics", "check_backends"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._registry import check_backends as check_backends
    from ._system import SystemMetrics as SystemMetrics


def __getattr__(name: str) -> object:
    # Most programs choose no backend, and end before the first look at the system.
    if name == "check_backends":
        from ._registry import check_backends

        return check_backends
    if name == "SystemMetrics":
        from ._system import SystemMetrics

        return SystemMetrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
