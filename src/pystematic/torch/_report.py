"""`Report`: what a process of a run says of its end, and whether that end is only a symptom of another's.

Knows neither pipes nor stores: how a report travels is the business of who sends it.
"""

from __future__ import annotations

import pickle
import signal
import time

from pystematic._record import record
from pystematic.errors import ExperimentError, RunStopped

# How long after a first failure the others are heard: the first one noticed need not be the first one.
HEAR_OTHERS_S = 0.5
# The words of torch's backends when another process has gone: https://github.com/pytorch/gloo, NCCL.
_SYMPTOMS = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "recvValue failed"),
    *("NCCL communicator was aborted", "ncclRemoteError", "remote process exited", "Connection was likely closed"),
    *("Timed out waiting", "Application timeout caused pair closure", "Stop_waiting response is expected"),
)
_SYMPTOM_TYPES = ("DistBackendError", "DistNetworkError", "DistStoreError", "RuntimeError")


@record
class Report:
    """How a process of a run has ended: ``kind`` is done, failed, exited or stopped.

    ``payload`` is the pickled result or exception where there is one, ``code`` the exit code that it means,
    ``is_symptom`` whether the failure is that another process has gone, ``is_agreed`` whether all stop at this step.
    """

    kind: str
    code: int
    at: float
    rank: int = 0
    type: str = ""
    message: str = ""
    traceback: str = ""
    payload: bytes | None = None
    signum: int | None = None
    status: str = "interrupted"
    is_agreed: bool = False
    is_symptom: bool = False

    @property
    def is_secondary(self) -> bool:
        """Whether something else is the cause of this end."""
        return self.kind == "stopped" or self.is_symptom


def report_of(error: BaseException, rank: int) -> Report:
    """Return the report of a process whose main function has raised ``error``."""
    now = time.time()
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        text = error.code if isinstance(error.code, str) else ""
        return Report("done" if code == 0 else "exited", code & 0xFF, now, rank, "SystemExit", text)
    if isinstance(error, KeyboardInterrupt | RunStopped):
        is_agreed = bool(vars(error).get("is_agreed", False))
        if isinstance(error, KeyboardInterrupt):
            return Report("stopped", 130, now, rank, signum=int(signal.SIGINT), is_agreed=is_agreed)
        code, status = error.exit_code, error.status
        return Report("stopped", code, now, rank, signum=error.signum, status=status, is_agreed=is_agreed)
    from pystematic.run import format_traceback  # for failures only

    kind, text = type(error).__name__, format_traceback(error)
    payload, is_symptom = _pickled(error), _is_symptom(error)
    return Report("failed", 1, now, rank, kind, _text(error), text, payload, is_symptom=is_symptom)


def exception_of(report: Report, world_size: int) -> BaseException:
    """Return what is raised, in another process, for the end of this one: the failure's own words, its rank named."""
    who = f"rank {report.rank} of {world_size}"
    if report.kind == "exited":
        return SystemExit(report.message or report.code)
    if report.kind == "stopped":
        if report.signum == signal.SIGINT:
            return KeyboardInterrupt()
        stopped = RunStopped(report.signum)
        stopped.exit_code, stopped.status = report.code, report.status
        return stopped
    from pystematic.run import set_traceback

    error: BaseException
    try:
        assert report.payload is not None
        error = pickle.loads(report.payload)
    except Exception:
        error = ExperimentError(f"{who} failed: {report.type}: {report.message}")
    set_traceback(error, f"{who} failed:\n{report.traceback}")
    return error


def first_cause(reports: list[Report]) -> Report | None:
    """Return the failure that is the cause of the others, None where all went well."""
    failed = [report for report in reports if report.kind != "done"]
    return min(failed, key=lambda report: (report.is_secondary, report.at), default=None)


def _is_symptom(error: BaseException) -> bool:
    """Tell whether an exception, or what it was raised from, says that another process has gone."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and not any(found is one for one in seen):
        if type(found).__name__ in _SYMPTOM_TYPES and any(words in _text(found) for words in _SYMPTOMS):
            return True
        seen.append(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # whatever it holds
        return None
    return data


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(no message: its __str__ raises)"
