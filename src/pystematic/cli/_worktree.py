"""A temporary git worktree of a recorded commit with its patch, for ``pystematic rerun --exact``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from pystematic.store import Run

# Set by git for hooks; they would lead our git to another repository.
_LEADING_ASTRAY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
_PASSED_ON = ("SIGTERM", "SIGHUP")


class Worktree:
    """The recorded state of a repository in a folder of its own; `remove` takes it away again.

    Args:
        old: the recorded run.
        code_file: a file of the repository.

    Attributes:
        root: the top folder of the repository.
        path: the worktree.

    Raises:
        ExperimentError: there is no commit in the record, or it or its patch cannot be had.
    """

    def __init__(self, old: Run, code_file: str) -> None:
        git = old.environment.get("git") or {}
        commit = git.get("commit")
        if not commit:
            raise ExperimentError(
                f"--exact: the record of {old.id} names no commit: it was not run in a git repository. "
                "Rerun it without --exact."
            )
        self.root = self._git(os.path.dirname(os.path.abspath(code_file)), "rev-parse", "--show-toplevel").rstrip("\n")
        self.folder = tempfile.mkdtemp(prefix="pystematic-exact-")
        self.path = os.path.join(self.folder, os.path.basename(self.root) or "worktree")
        try:
            self._git(self.root, "worktree", "add", "--detach", "--quiet", self.path, str(commit))
            if old.patch:
                self._git(self.path, "apply", "--whitespace=nowarn", os.path.abspath(old.dir.patch_file))
        except BaseException:
            self.remove()
            raise
        print(f"Commit {str(commit)[:12]}{' with its patch' if old.patch else ''} in {self.path}", file=sys.stderr)
        if git.get("left_out"):
            names = ", ".join(str(item) for item in git["left_out"])
            print(f"Not in the recorded patch, so as committed or absent: {names}", file=sys.stderr)
        if "<masked>" in old.patch:
            print("Secrets are masked in the recorded patch, so also in this copy.", file=sys.stderr)

    def inside(self, file: str) -> None:
        """Check that a file of the program belongs to the repository.

        Raises:
            ExperimentError: it does not.
        """
        if not os.path.realpath(file).startswith(os.path.realpath(self.root) + os.sep):
            raise ExperimentError(
                f"--exact: the program {file!r} does not lie in the repository {self.root!r}, whose commit is "
                "recorded. Rerun it without --exact."
            )

    def run_again(self, words: list[str], variable: str) -> int:
        """Run the command `pystematic` in a new interpreter that is told about the worktree; return its exit code."""
        import json

        environment = dict(os.environ)
        environment[variable] = json.dumps({"root": self.root, "worktree": self.path})
        process = subprocess.Popen([sys.executable, "-m", "pystematic", *words], env=environment)
        before = _pass_on_signals(process)
        try:
            while True:
                try:
                    code = process.wait()
                except KeyboardInterrupt:
                    continue  # the other process got it too, and ends in its own way
                return code if code >= 0 else 128 - code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def remove(self) -> None:
        """Remove the worktree and what git knows of it."""
        try:
            self._git(self.root, "worktree", "remove", "--force", self.path)
        except ExperimentError:  # it was never made
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def _git(self, folder: str, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in _LEADING_ASTRAY}
        try:
            done = subprocess.run(
                ["git", "-C", folder, *arguments], capture_output=True, text=True, errors="replace", env=environment
            )
        except OSError as error:
            raise ExperimentError(f"--exact needs git, which cannot be started: {error.strerror}.") from None
        if done.returncode != 0:
            raise ExperimentError(f"--exact: git {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
        return done.stdout


def _pass_on_signals(process: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Send the signals that would end us to ``process``, so that the worktree outlives neither."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before: dict[int, Any] = {}
    for name in _PASSED_ON:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, pass_on)
    return before
