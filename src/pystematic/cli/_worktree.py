"""A temporary git worktree of a recorded commit with its patch, for ``pystematic rerun --exact``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.store import Run


class Worktree:
    """The recorded state of a repository in a folder of its own; `remove` takes it away again.

    Raises:
        ExperimentError: there is no commit in the record, or it or its patch cannot be had.
    """

    def __init__(self, old: Run, file: str) -> None:
        git = (old.environment or {}).get("git") or {}
        commit = git.get("commit")
        if not commit:
            raise ExperimentError(
                f"--exact: the record of {old.id} names no commit: it was not run in a git repository."
            )
        self.root = self._git(os.path.dirname(os.path.abspath(file)), "rev-parse", "--show-toplevel").strip()
        self.folder = tempfile.mkdtemp(prefix="pystematic-exact-")
        self.path = os.path.join(self.folder, os.path.basename(self.root) or "worktree")
        try:
            self._git(self.root, "worktree", "add", "--detach", "--quiet", self.path, str(commit))
            if git.get("left_out"):
                names = ", ".join(str(item) for item in git["left_out"])
                print(f"Not in the recorded patch, so as committed or absent: {names}", file=sys.stderr)
            if old.patch:
                self._git(self.path, "apply", "--whitespace=nowarn", str(old.dir.patch_file))
        except BaseException:
            self.remove()
            raise
        print(f"Commit {str(commit)[:12]}{' with its patch' if old.patch else ''} in {self.path}", file=sys.stderr)

    def run_again(self, words: list[str], variable: str) -> int:
        """Run the same command in a new interpreter that takes the program from the worktree; return its exit code."""
        environment = dict(os.environ)
        environment[variable] = f"{self.root}{os.pathsep}{self.path}"
        process = subprocess.Popen([sys.executable, "-m", "pystematic", *words], env=environment)
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                continue  # the other process got it too, and ends in its own way
            return code if code >= 0 else 128 - code

    def remove(self) -> None:
        """Remove the worktree and what git knows of it."""
        try:
            self._git(self.root, "worktree", "remove", "--force", self.path)
        except ExperimentError:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def _git(self, folder: str, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", folder, *arguments], capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise ExperimentError(f"--exact needs git: {error.strerror}.") from None
        if done.returncode != 0:
            raise ExperimentError(f"--exact: git {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
        return done.stdout
