"""What all fault cases share: a fresh folder, real processes, a fresh reader, and a look at every file that was left.

Knows the files of a run only by what the documentation promises of them, not from the package's code.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROCESS_LIMIT_S = 60.0

# Variables of the shell that could change what a case sees.
REMOVED_PREFIXES = ("PYSTEMATIC_", "SLURM_", "GIT_", "PYTEST_", "COV_")


class CaseError(Exception):
    """What went wrong, in one line."""


@dataclass(frozen=True)
class Case:
    """One fault: its id on the command line, what it does, and the function that raises ``CaseError``."""

    id: str
    what: str
    check: Callable[[Place], None]


@dataclass(frozen=True)
class Ended:
    """An ended process. ``code`` is the exit code as a shell sees it: 128 + N after signal N."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Place:
    """A case's own folder, with the processes that it starts there."""

    folder: Path
    moments: int
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def output_dir(self) -> Path:
        return self.folder / "output"

    def sub(self, name: str) -> Place:
        """Make a place inside this one, for a case that starts afresh many times."""
        folder = self.folder / name
        folder.mkdir()
        return Place(folder, self.moments, self._processes)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def env(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(REMOVED_PREFIXES)}
        # One cache for all cases of a run: a cold one is a case of its own, and costs each start.
        return {**kept, "XDG_CACHE_HOME": str(self.folder / "cache"), **extra}

    def start(self, *argv: str | Path, notify: bool = False, pass_fd: int | None = None, **env: str) -> Process:
        """Start Python with ``argv`` in the folder; with ``notify`` it can write to the descriptor NOTIFY_FD."""
        stem = self.folder / f".process-{len(self._processes)}"
        read_fd = write_fd = None
        if notify:
            read_fd, write_fd = os.pipe()
            env["NOTIFY_FD"] = str(write_fd)
        with stem.with_suffix(".out").open("wb") as out, stem.with_suffix(".err").open("wb") as err:
            started = time.monotonic()
            popen = subprocess.Popen(
                [sys.executable, *map(str, argv)],
                cwd=self.folder,
                env=self.env(**env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[fd for fd in (write_fd, pass_fd) if fd is not None],
                start_new_session=True,
            )
        if write_fd is not None:
            os.close(write_fd)
        self._processes.append(popen)
        return Process(popen, stem, started, read_fd)

    def run(self, *argv: str | Path, **env: str) -> Ended:
        return self.start(*argv, **env).wait()

    def pystematic(self, *argv: str | Path) -> Ended:
        return self.run("-m", "pystematic", *argv)

    def read(self) -> list[dict[str, object]]:
        """Return the runs of the output folder as a new process sees them, and check every file left there."""
        if not self.output_dir.exists():  # ended before it was made; a folder that is not there is a usage error
            return []
        check_files(self.output_dir)
        ended = self.run("-c", READER, str(self.output_dir))
        expect(ended.code == 0, f"the reader failed: {last_line(ended.stderr)}")
        runs: list[dict[str, object]] = json.loads(ended.stdout)
        listed = self.pystematic("ls", "--all", "--output", "json")
        expect(listed.code == 0, f"pystematic ls ended with {listed.code}: {last_line(listed.stderr)}")
        expect("Traceback" not in listed.stderr, f"pystematic ls: {last_line(listed.stderr)}")
        for run in runs:
            expect(str(run["id"]) in listed.stdout, f"pystematic ls does not list {run['id']}")
        return runs

    def stop_all(self) -> None:
        """End what a failed case left running."""
        for popen in self._processes:
            if popen.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(popen.pid, signal.SIGKILL)
                popen.wait()


@dataclass
class Process:
    """A started process. ``read_fd`` is where it notifies us, when asked to."""

    popen: subprocess.Popen[bytes]
    stem: Path
    started: float
    read_fd: int | None

    def wait_for(self, byte: bytes) -> float:
        """Wait until the process has written ``byte``; return the time since its start. Fails if it ends before."""
        assert self.read_fd is not None
        while got := os.read(self.read_fd, 1):
            if got == byte:
                return time.monotonic() - self.started
        ended = self.wait()
        raise CaseError(f"the program ended with {ended.code} too early: {last_line(ended.stderr)}")

    def notes(self) -> bytes:
        """Return everything that the process writes until its end."""
        assert self.read_fd is not None
        parts = []
        while part := os.read(self.read_fd, 65536):
            parts.append(part)
        return b"".join(parts)

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self) -> Ended:
        try:
            code = self.popen.wait(PROCESS_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise CaseError(f"a process was still running after {PROCESS_LIMIT_S:g} s") from None
        finally:
            if self.read_fd is not None:
                os.close(self.read_fd)
                self.read_fd = None
        return Ended(128 - code if code < 0 else code, self._text(".out"), self._text(".err"))

    def _text(self, suffix: str) -> str:
        return self.stem.with_suffix(suffix).read_text(encoding="utf-8", errors="backslashreplace")


READER = """
import json, sys, warnings
warnings.simplefilter("error")
import pystematic
found = []
for run in pystematic.runs(sys.argv[1]):
    repr(run), dict(run.params), run.summary, run.log_text(), run.tags, run.note, run.duration, run.environment
    found.append({"id": run.id, "path": str(run.path), "status": run.status, "experiment": run.experiment,
                  "exit_code": run.document.get("exit_code"), "recorded": run.document.get("status"),
                  "error": run.document.get("error"), "params": sorted(run.params)})
print(json.dumps(found))
"""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CaseError(otherwise)


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "(no message)"


def wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    """Wait until ``holds()`` does; return whether it did within ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def run_dirs(output_dir: Path) -> list[Path]:
    return sorted(path for path in output_dir.glob("*/*") if path.is_dir())


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not strict JSON")


def check_files(output_dir: Path) -> None:
    """Check that each document of each run directory is whole or absent."""
    import yaml

    for run_dir in run_dirs(output_dir):
        for path in _visible_files(run_dir):
            where = f"{run_dir.name}/{path.relative_to(run_dir)}"
            content = path.read_bytes()
            try:
                if path.suffix == ".json":
                    json.loads(content, parse_constant=_no_constant)
                elif path.name == "parameters.yaml":
                    expect(yaml.compose(content.decode()) is not None, f"{where} is empty")
                elif path.suffix == ".jsonl":
                    for line in content.split(b"\n")[:-1]:  # the last may be cut off
                        json.loads(line, parse_constant=_no_constant)
                elif path.suffix == ".txt":
                    content.decode()
            except (ValueError, yaml.YAMLError) as error:
                raise CaseError(f"{where} is damaged ({len(content)} bytes): {str(error).splitlines()[0]}") from None


def _visible_files(run_dir: Path) -> Iterator[Path]:
    for path in sorted(run_dir.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(".tmp"):
            yield path


def spread(moments: int, first: float, last: float) -> list[float]:
    """Return that many points from first to last, both included."""
    if moments == 1:
        return [(first + last) / 2]
    return [first + (last - first) * i / (moments - 1) for i in range(moments)]
