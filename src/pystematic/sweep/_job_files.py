"""What a coordinator and its jobs on other machines tell each other: files in a folder that both of them see.

Each file has one writer, except the claim, which only one of both can create.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time

from pystematic import rundir
from pystematic._record import record
from pystematic.run import batch_job
from pystematic.sweep._executor import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from pystematic.rundir import JobDir
    from pystematic.sweep._code import Code
    from pystematic.sweep._executor import Task

# A job touches its events so often; where its process cannot be seen it is taken for dead after the longer time.
TOUCH_PERIOD_S = 10.0
SILENT_FOR_S = 60.0


@record
class Parcel:
    """What a job gets: the program, and the run to be made. It may hold secrets."""

    code: Code
    task: Task


class JobFiles:
    """The coordinator's side of one job.

    Args:
        place: its files.
    """

    def __init__(self, place: JobDir) -> None:
        self.place = place
        self._read_bytes = 0

    def write(self, parcel: Parcel) -> None:
        """Make the folder, for a job that is to be started.

        Raises:
            OSError: it cannot be written.
            Exception: of `pickle`.
        """
        content = pickle.dumps(parcel)
        os.makedirs(self.place.path.parent, mode=0o700, exist_ok=True)
        os.mkdir(self.place.path, 0o700)
        for path in (self.place.control_file, self.place.events_file):
            path.touch()
        with open(os.open(self.place.parcel_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)

    @property
    def exists(self) -> bool:
        """Whether the start of this number was given to a queue."""
        return self.place.path.is_dir()

    def take_back(self) -> bool:
        """Keep the job from making the run; False where it has begun."""
        try:
            rundir.create_document(self.place.claim_file, {"job": None, "host": rundir.host_name()})
        except FileExistsError:
            return self.claimant().get("job") is None
        remove(self.place.parcel_file)
        return True

    def remove(self) -> None:
        """Remove the folder of a job that was never started."""
        shutil.rmtree(self.place.path, ignore_errors=True)

    def claimant(self) -> dict[str, Any]:
        """Return who has the claim; empty while nobody has."""
        return rundir.read_document(self.place.claim_file) or {}

    def ask(self, what: Literal["stop", "kill"]) -> None:
        """Ask the job to end its run."""
        with open(self.place.control_file, "r+", encoding="ascii") as file:  # in place: see `JobDir`
            file.write(what)

    def read_events(self) -> list[Event]:
        """Return what the job has told since the last call."""
        try:
            with open(self.place.events_file, "rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [Event(**json.loads(line)) for line in whole.splitlines()]

    @property
    def is_alive(self) -> bool:
        """Whether the process of a job that has the claim lives, as far as can be told from here."""
        claimant = self.claimant()
        if claimant.get("job") is None:
            return False
        alive = rundir.is_alive(claimant.get("pid"), claimant.get("host"))
        if alive is not None:
            return alive
        touched_at = rundir.last_touched([self.place.events_file])
        return touched_at is not None and rundir.server_time(self.place.path) - touched_at < SILENT_FOR_S


class OwnFiles:
    """The job's side.

    Args:
        place: its files.
    """

    def __init__(self, place: JobDir) -> None:
        self.place = place
        self._touched_at = time.monotonic()

    def claim(self) -> Parcel | None:
        """Take what is to be done; None where it was taken back."""
        claimant = {"job": batch_job() or {}, "host": rundir.host_name(), "pid": rundir.process_identity()}
        try:
            rundir.create_document(self.place.claim_file, claimant)
        except FileExistsError:
            return None
        with open(self.place.parcel_file, "rb") as file:
            parcel: Parcel = pickle.load(file)
        remove(self.place.parcel_file)
        return parcel

    def tell(self, event: Event) -> None:
        """Tell the coordinator what has happened."""
        line = json.dumps(vars(event), separators=(",", ":")) + "\n"
        with open(self.place.events_file, "a", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def asked(self) -> str:
        """Return what the coordinator wants: ``stop``, ``kill`` or nothing."""
        try:
            return self.place.control_file.read_text("ascii")
        except OSError:
            return ""

    def touch(self) -> None:
        """Show from time to time that this job lives."""
        if time.monotonic() - self._touched_at >= TOUCH_PERIOD_S:
            self._touched_at = time.monotonic()
            try:
                os.utime(self.place.events_file)
            except OSError:
                return


def remove(path: os.PathLike[str]) -> None:
    """Remove a file that may be gone."""
    try:
        os.unlink(path)
    except OSError:
        return
