"""Run directories as the index sees them: which there are, what stands in their documents, whether they have changed.

The documents of 100,000 runs are read here, so this is written for speed; what a document means is said elsewhere.
"""

from __future__ import annotations

import array
import json
import os
import sys
import time
import zlib

# One by one: a name of that package is looked up anew each time that it is asked for.
from pystematic.rundir import (
    SWEEPS_NAME,
    ParameterLines,
    RunDir,
    is_metrics_name,
    parse_parameters,
)
from pystematic.store._facts import DAMAGED, commit_of, make_facts, metrics_of, metrics_of_document, plain_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pystematic.store._facts import Facts, Metrics

# What a directory can be: no run, as it has no run.json; one that cannot be understood; a run.
NOTHING, BROKEN, ENDED, RUNNING = range(4)
# Two changes within one tick of a file server's clock look like one, and some clocks tick slowly.
SETTLED_AFTER_NS = 2_000_000_000
# Lines of parameters that are remembered; each is some hundred bytes.
MOST_LINES = 20_000
# Directories that one process looks at, while a second one would have to be made.
MOST_ALONE = 5_000
# On Windows the time of a directory's last change is another one, and files are found by their whole path.
_HAS_DIR_FD = os.stat in os.supports_dir_fd
_IS_WINDOWS = sys.platform == "win32"
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_RUN_DIR = RunDir("")
RUN = _RUN_DIR.run_file.name
# All that facts come from, ``run.json`` first, but for the series; and the main one of these.
DOCUMENTS = (
    RUN,
    _RUN_DIR.parameters_file.name,
    _RUN_DIR.summary_file.name,
    _RUN_DIR.labels_file.name,
    _RUN_DIR.environment_file.name,
)
SERIES = _RUN_DIR.metrics_file().name


# -- which directories there are -------------------------------------------------------------------------------------


class Scan:
    """The directories below an output folder that are runs or may become some, each with its last change.

    Attributes:
        folder: what was scanned.
        changed_ns: by the path relative to the folder, with ``/``.
    """

    def __init__(self, folder: str, known_runs: Iterable[str] = ()) -> None:
        """Look at each directory once.

        Args:
            folder: an output folder, or that of one experiment.
            known_runs: relative paths of one part that are known to be runs, which need no second look.
        """
        self.folder = folder
        self.changed_ns: dict[str, int] = {}
        known = frozenset(known_runs)
        runs = []
        for name in _subfolders(folder):
            if name == SWEEPS_NAME:
                continue
            if name in known or os.path.exists(RunDir(os.path.join(folder, name)).run_file):
                runs.append(name)
                continue
            path = os.path.join(folder, name)
            inner, changes = _changes(path, _subfolders(path))
            begin = f"{name}/"
            self.changed_ns.update(zip([begin + one for one in inner], changes, strict=True))
        self.changed_ns.update(zip(*_changes(folder, runs), strict=True))


def _subfolders(folder: str) -> list[str]:
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir() and entry.name[0] != ".":
                        names.append(entry.name)
                except OSError:  # a link to itself
                    pass
    except OSError:  # may not be read, or is gone by now
        pass
    return names


def _changes(folder: str, names: list[str]) -> tuple[list[str], list[int]]:
    """Return those directories that are still there, and when each was changed last: an entry added, replaced, removed.

    Of 100,000 runs this is most of what a query costs.
    """
    if not names:
        return [], []
    if _HAS_DIR_FD:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            return [], []
        try:
            return names, _look(descriptor, names)
        except (OSError, ValueError):  # one is gone by now
            pass
        finally:
            os.close(descriptor)
    found = [(name, changed) for name in names if (changed := _change_of(os.path.join(folder, name))) is not None]
    return [name for name, _ in found], [changed for _, changed in found]


def _look(descriptor: int, names: Sequence[str]) -> list[int]:
    """Return when each directory inside another one was changed last.

    Raises:
        OSError, ValueError: one is gone.
    """
    stat = os.stat
    if len(names) <= MOST_ALONE or not may_fork():
        return [stat(name, dir_fd=descriptor).st_ctime_ns for name in names]
    half = len(names) // 2
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            changes = array.array("q", [stat(name, dir_fd=descriptor).st_ctime_ns for name in names[half:]])
            with open(sending, "wb") as stream:
                stream.write(changes.tobytes())
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as stream:
        try:
            ours = [stat(name, dir_fd=descriptor).st_ctime_ns for name in names[:half]]
            theirs = array.array("q", stream.read())
        finally:
            stream.close()  # a child that still writes ends then
            os.waitpid(pid, 0)
    if len(ours) + len(theirs) != len(names):
        raise ValueError("the child did not find all")
    return ours + theirs.tolist()


def may_fork() -> bool:
    """Tell whether a fork is safe: it copies one thread only, and the locks that the others hold stay locked."""
    if sys.platform != "linux" or (os.cpu_count() or 1) < 2:
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _change_of(path: str) -> int | None:
    try:
        return changed_ns(os.stat(path))
    except OSError:
        return None


def changed_ns(found: os.stat_result) -> int:
    """Return when a file or directory was changed last. Unlike ``mtime`` no copy and no `touch` sets it back."""
    return found.st_mtime_ns if _IS_WINDOWS else found.st_ctime_ns


# -- what stands in one ----------------------------------------------------------------------------------------------


class Reading:
    """What was found in a directory.

    Attributes:
        kind: NOTHING, BROKEN, ENDED or RUNNING (so says its document).
        facts: of a run; None of anything else.
        signature: changes when a document, or a file of series that may still grow, is changed in whatever way.
        is_settled: False where a change may have been too recent to tell it from the next one.
    """

    __slots__ = ("facts", "is_settled", "kind", "signature")

    def __init__(self, kind: int, facts: Facts | None = None, signature: int = 0, *, is_settled: bool = False) -> None:
        self.kind = kind
        self.facts = facts
        self.signature = signature
        self.is_settled = is_settled


class Reader:
    """Reads run directories one after the other, and remembers what they have in common."""

    def __init__(self) -> None:
        self._lines = ParameterLines(plain_value)
        self._decoder = json.JSONDecoder()
        # NaN is not JSON, and not what we write into a summary.
        self._strict_decoder = json.JSONDecoder(parse_constant=_refuse)

    def read(self, directory: str, changed: int = 0) -> Reading:
        """Read the documents of a directory; ``changed`` is its own last change, as `Scan` found it."""
        old = time.time_ns() - SETTLED_AFTER_NS
        try:
            names = os.listdir(directory)
        except OSError:
            return Reading(NOTHING)
        if RUN not in names:
            return Reading(NOTHING, is_settled=changed < old)
        states: list[int] = []
        contents = [_read(f"{directory}/{name}" if name in names else "", states) for name in DOCUMENTS]
        document = self._parse(contents[0])
        is_running = document.get("status") == "running"
        sizes = _add_series(directory, names, states, with_all=is_running)
        is_settled = max(changed, *states[::3]) < old
        signature = hash(tuple(states))
        if document.get("status", DAMAGED) == DAMAGED or not isinstance(document["status"], str):
            return Reading(BROKEN, None, signature, is_settled=is_settled)
        if len(self._lines) > MOST_LINES:
            self._lines.clear()
        _, parameters, summary, labels, environment = contents
        facts = make_facts(
            document,
            parse_parameters(parameters, self._lines) if parameters else {},
            self._parse(labels) if labels else {},
            self._metrics(directory, summary, sizes, is_running=is_running),
            commit_of(environment) if environment else None,
            directory.rstrip("/").rpartition("/")[0].rpartition("/")[2],
        )
        return Reading(RUNNING if is_running else ENDED, facts, signature, is_settled=is_settled)

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            document = self._decoder.decode(content.decode())
        except ValueError:  # in another encoding, perhaps
            try:
                document = json.loads(content)
            except (ValueError, RecursionError):
                return {}
        except RecursionError:
            return {}
        return document if isinstance(document, dict) else {}

    def _metrics(self, directory: str, content: bytes, sizes: dict[str, int], *, is_running: bool) -> Metrics:
        """Return the numbers of ``summary.json``, or of the series where it does not count all of them in."""
        if not sizes and not content:
            return {}
        try:
            document = self._strict_decoder.decode(content.decode())
            if document["files"] == sizes:
                return metrics_of_document(document["metrics"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        return _odd_metrics(directory, self._parse(content), sizes, is_running=is_running)


def _odd_metrics(directory: str, document: dict[str, Any], sizes: dict[str, int], *, is_running: bool) -> Metrics:
    """Return the numbers of a run whose ``summary.json`` is behind its series, holds what is rare, or is damaged."""
    from pystematic.rundir import parse_metrics, summarize

    try:
        if document.get("files") == sizes:
            return metrics_of(parse_metrics(document.get("metrics")))
    except ValueError:
        pass
    if is_running:
        from pystematic.store._live import live_summary

        live = live_summary(directory, document, sizes)
        if live is not None:
            return metrics_of(live)
    return metrics_of(parse_metrics(summarize(directory)["metrics"]))


def signature_of(directory: str, kind: int) -> int:
    """Return what the signature of a run of this kind is now, without reading anything."""
    states: list[int] = []
    for name in DOCUMENTS:
        states += _state(f"{directory}/{name}")
    names: list[str] = []
    if kind == RUNNING:
        try:
            names = os.listdir(directory)
        except OSError:
            return 0
    _add_series(directory, names, states, with_all=kind == RUNNING)
    return hash(tuple(states))


def _add_series(directory: str, names: Sequence[str], states: list[int], *, with_all: bool) -> dict[str, int]:
    """Add the states of the files of series, of an ended run only that of the main one; return the sizes of all."""
    sizes = {}
    main = (0, 0, 0)
    for name in sorted(name for name in names if name.startswith("metrics.") and is_metrics_name(name)):
        changed, size, number = state = _state(f"{directory}/{name}")
        if number:
            sizes[name] = size
        if name == SERIES:
            main = state
        elif with_all:
            states += (changed, size, number ^ zlib.crc32(name.encode()))
    states += main if names else _state(f"{directory}/{SERIES}")
    return sizes


def _read(path: str, states: list[int]) -> bytes:
    """Return the content of a file, and add its state; nothing of one that cannot be read, or has no path."""
    try:
        descriptor = os.open(path, _READ_FLAGS) if path else -1
    except OSError:
        descriptor = -1
    if descriptor < 0:
        states += (0, 0, 0)
        return b""
    try:
        found = os.fstat(descriptor)
        states += (changed_ns(found), found.st_size, found.st_ino)
        parts = []
        left = found.st_size
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _state(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0, 0
    return changed_ns(found), found.st_size, found.st_ino


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
