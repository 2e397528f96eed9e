"""Every exception that a user may catch.

Error                       anything that pystematic refuses; also `pystematic.core.Error`
├── DeclarationError        a decorator was given something impossible; names the file and line
├── UsageError              values or words that a person gave; all problems of one command at once; exit code 2
│   └── NotFoundError       no such run, folder or experiment
└── ExperimentError         a run that cannot start or go on
    └── RunDirectoryError   the output folder cannot be written: read-only, full, not a folder
RunStopped (BaseException)  a signal ends the run; `finally` blocks run, `except Exception` does not catch it
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Error(Exception):
    """Anything that pystematic refuses. Its text says what is wrong, where it came from and what to do."""


class DeclarationError(Error):
    """A decorator was given something impossible. The text names the file and line of the declaration."""


class UsageError(Error):
    """Values or words that a person gave are wrong. ``problems`` holds one text for each of them."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class NotFoundError(UsageError):
    """No run, folder or experiment of the given name."""


class ExperimentError(Error):
    """A run cannot start or go on."""


class RunDirectoryError(ExperimentError):
    """The output folder cannot be written: it is read-only, full, or not a folder."""


class RunStopped(BaseException):
    """A signal asks the run to end. Raised in the main thread; ``finally`` blocks run.

    Attributes:
        signum: the number of the signal, or None when no signal was the reason.
        exit_code: what the process exits with: 128 + ``signum``.
    """

    def __init__(self, signum: int | None = None) -> None:
        self.signum = signum
        self.exit_code = 1 if signum is None else 128 + signum
        self.status = "interrupted"
        super().__init__(f"the run was stopped by signal {signum}" if signum is not None else "the run was stopped")
