"""`run.json`: what is written at a run's start, at changes of its status, at its end; and times as files hold them."""

from __future__ import annotations

import errno
import os
import time

from pystematic.rundir._files import read_document, strict_json, write_document
from pystematic.rundir._process import host_name, is_alive, process_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pystematic.rundir._layout import RunDir

SCHEMA = 1


def format_time(seconds: float) -> str:
    """Write a time since 1970 in UTC by ISO 8601, with microseconds: ``2026-01-31T12:00:00.000001Z``."""
    microseconds = round(seconds * 1e6)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(microseconds // 1_000_000))
    return f"{whole}.{microseconds % 1_000_000:06d}Z"


class RunDocument:
    """The content of one run's ``run.json``; its one writer is the process of the run.

    Args:
        run_dir: whose document it is.
        experiment: full name.
        argv: the command line, secrets masked.
        sources: of each parameter.
        program: how to find the program again: ``file``, ``module``, ``code_file``.
        metric: the experiment's, as ``TAG:max`` or ``TAG:min``.
        parent: what started it: the id of a run, or ``sweep NAME``.
        point: key of the sweep's point that it is a run of.
        code: the hash of the code, where it is known by now.
        notes: what was said about it at the start.
        world_size: how many processes work on it.
        job: the batch job that it runs in.
    """

    def __init__(
        self,
        run_dir: RunDir,
        *,
        experiment: str,
        argv: Sequence[str],
        sources: Mapping[str, str],
        program: Mapping[str, str | None],
        metric: str | None,
        parent: str | None,
        point: str | None = None,
        code: str | None = None,
        notes: Sequence[str],
        world_size: int = 1,
        job: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = run_dir.run_file
        now = format_time(time.time())
        self.fields: dict[str, Any] = {
            "schema": SCHEMA,
            "id": run_dir.id,
            "experiment": experiment,
            "status": "running",
            "started_at": now,
            "ended_at": None,
            "exit_code": None,
            "error": None,
            "host": host_name(),
            "pid": process_identity(),
            "argv": list(argv),
            "program": dict(program),
            "metric": metric,
            "sources": dict(sources),
            "parent": parent,
            "point": point,
            "code": code,
            "job": None if job is None else dict(job),
            "notes": list(notes),
            "attempts": [
                {
                    "started_at": now,
                    "ended_at": None,
                    "host": host_name(),
                    "argv": list(argv),
                    "world_size": world_size,
                    "checkpoint": None,
                    "changed": {},
                    "status": "running",
                }
            ],
        }

    def describe_start(self, checkpoint: str | None, changes: Mapping[str, Any]) -> None:
        """Tell what the attempt that begins goes on from.

        Args:
            checkpoint: the file, None: it goes on from nothing.
            changes: parameters that are others than in the run of the checkpoint: name to the former and the new value.
        """
        self.fields["attempts"][-1].update(checkpoint=checkpoint, changed=dict(changes))

    def go_on(self, earlier: Mapping[str, Any]) -> None:
        """Make this the document of a further attempt of the run that ``earlier`` describes.

        Args:
            earlier: the former content of the file.
        """
        attempt = self.fields["attempts"][0]
        for name in ("started_at", "parent", "point", "notes"):
            if earlier.get(name):
                self.fields[name] = earlier[name]
        self.fields["attempts"] = [*(earlier.get("attempts") or []), attempt]
        for old in self.fields["attempts"][:-1]:
            if isinstance(old, dict) and old.get("status") == "running":
                old["status"] = "lost"

    def write(self, *, fsync: bool = False) -> None:
        """Put the document on disk, in one step.

        Raises:
            OSError: it cannot be written; the old one stays.
        """
        write_document(self._path, self.fields, fsync=fsync)

    def finish(self, status: str, exit_code: int, error: Mapping[str, str] | None) -> None:
        """Write how the run ended, and wait until it is on disk.

        Raises:
            OSError: it cannot be written.
        """
        now = format_time(time.time())
        self.fields.update(status=status, exit_code=exit_code, error=error, ended_at=now)
        self.fields["attempts"][-1].update(status=status, ended_at=now)
        try:
            self.write(fsync=True)
        except OSError:
            self._write_in_place()

    def _write_in_place(self) -> None:
        """Write over the old document where a full disk has no room for another: its blocks are there already.

        So nothing longer than the old one can be written; what the run's end is about is left out last.
        """
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            size = os.fstat(descriptor).st_size
            content = self._content_of(size)
            # Blanks over the rest of the old one until it is cut off: JSON at any moment.
            if os.pwrite(descriptor, content.ljust(size), 0) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _content_of(self, size: int) -> bytes:
        """Return the document in at most ``size`` bytes, without spaces and with less and less beside the status."""
        import json

        fields = strict_json(self.fields)
        error = fields["error"]
        shortenings: list[dict[str, Any]] = [
            {},
            {"error": _shortened(error, 500)},
            {"error": _shortened(error, 100), "notes": []},
            {"error": _shortened(error, 0), "notes": [], "sources": {}},
            {"error": _shortened(error, 0), "notes": [], "sources": {}, "argv": [], "attempts": []},
        ]
        content = b""
        for shortening in shortenings:
            text = json.dumps({**fields, **shortening}, separators=(",", ":"), allow_nan=False)
            content = text.encode("ascii") + b"\n"
            if len(content) <= size:
                break
        return content


def finish_for_dead(run_dir: RunDir, status: str, exit_code: int, error: Mapping[str, str] | None) -> None:
    """Write how a run ended whose own process could not; called by the process that has started it.

    Does nothing where the run's process has written its end, or lives, or is not of this machine.

    Raises:
        OSError: it cannot be written.
    """
    fields = read_document(run_dir.run_file)
    if fields is None or fields.get("status") != "running":
        return
    if is_alive(fields.get("pid"), fields.get("host")) is not False:
        return
    ended = {"status": status, "ended_at": format_time(time.time())}
    fields.update(ended, exit_code=exit_code, error=error)
    attempts = fields.get("attempts")
    if isinstance(attempts, list) and attempts and isinstance(attempts[-1], dict):
        attempts[-1].update(ended)
    write_document(run_dir.run_file, fields, fsync=True)


def _shortened(error: Mapping[str, str] | None, length: int) -> dict[str, str] | None:
    if error is None:
        return None
    return {"type": error.get("type", "")[:100], "message": error.get("message", "")[:length]}
