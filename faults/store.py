"""Readers that are killed, that meet each other, or that find a damaged index: the next one always answers right."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from faults._harness import CaseError, Place, expect, last_line, spread

RUNS = 2500  # so many are read by two processes
LEFT_S = 5.0

MAKE = """
    import json, os, sys

    folder, count = sys.argv[1], int(sys.argv[2])
    for i in range(count):
        path = f"{folder}/train/2026-01-01_00-00-00_{i:06}"
        os.makedirs(path)
        document = {"schema": 1, "id": os.path.basename(path), "experiment": "train", "status": "completed",
                    "started_at": f"2026-01-01T00:00:00.{i:06}Z", "ended_at": "2026-01-01T01:00:00.000000Z"}
        with open(f"{path}/run.json", "w") as file:
            json.dump(document, file)
        with open(f"{path}/parameters.yaml", "w") as file:
            file.write(f"lr: {i}\\n")
"""


class _Folder:
    """Runs whose parameter ``lr`` is their number, and what a reader must answer about them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lrs = {f"2026-01-01_00-00-00_{i:06}": float(i) for i in range(RUNS)}
        ended = place.run(place.write("make.py", MAKE), place.output_dir, str(RUNS))
        expect(ended.code == 0, f"the runs could not be made: {last_line(ended.stderr)}")

    @property
    def index(self) -> Path:
        (path,) = (self.place.folder / "cache" / "pystematic").glob("index-*.sqlite")
        return path

    def forget_index(self) -> None:
        for path in (self.place.folder / "cache" / "pystematic").glob("index-*"):
            path.unlink()

    def change(self, number: int) -> None:
        """Let one run have another parameter, one be new, and one be gone."""
        names = sorted(self.lrs)
        changed, gone = names[number % len(names)], names[-1 - number % len(names)]
        path = self.place.output_dir / "train" / changed / "parameters.yaml"
        aside = path.with_name("aside")
        aside.write_text(f"lr: {10_000 + number}\n")
        aside.replace(path)
        self.lrs[changed] = 10_000 + number
        if gone != changed:
            (self.place.output_dir / "train" / gone).rename(self.place.output_dir / "train" / f"{gone}-{number}")
            self.lrs[f"{gone}-{number}"] = self.lrs.pop(gone)

    def query(self) -> list[str | Path]:
        return ["-m", "pystematic", "ls", "--where", "params.lr >= 2400", "--output", "json", "--columns", "id,lr"]

    def check(self, text: str, when: str) -> None:
        try:
            rows = json.loads(text)
        except ValueError:
            raise CaseError(f"{when}: no answer but {text[:80]!r}") from None
        found = {row["id"]: row["lr"] for row in rows}
        wanted = {name: lr for name, lr in self.lrs.items() if lr >= 2400}
        expect(found == wanted, f"{when}: {len(found)} runs instead of {len(wanted)}, or other parameters")

    def check_now(self, when: str) -> None:
        ended = self.place.run(*self.query())
        expect(ended.code == 0, f"{when}: exit code {ended.code}: {last_line(ended.stderr)}")
        expect("Traceback" not in ended.stderr, f"{when}: {last_line(ended.stderr)}")
        self.check(ended.stdout, when)


def killed_reader(place: Place) -> None:
    """Kill readers that make the index, and readers that update it, with all that they have started."""
    folder = _Folder(place)
    began = time.monotonic()
    folder.check_now("the first answer")
    length = time.monotonic() - began
    for number, moment in enumerate(spread(place.moments, 0.01, length)):
        if number % 2 == 0:
            folder.forget_index()
        folder.change(number)
        reader = place.start(*folder.query())
        time.sleep(max(0.0, reader.started + moment - time.monotonic()))
        reader.signal(signal.SIGKILL)
        reader.wait()
        _expect_gone(reader.popen.pid, f"killed after {moment:.3f} s")
        folder.check_now(f"after a kill at {moment:.3f} s")
    folder.check_now("the last answer")


def _expect_gone(session: int, when: str) -> None:
    """Check that no process of a session lives on."""
    deadline = time.monotonic() + LEFT_S
    while left := [pid for pid in os.listdir("/proc") if pid.isdecimal() and _session_of(int(pid)) == session]:
        expect(time.monotonic() < deadline, f"{when}: process {left[0]} is left")
        time.sleep(0.01)


def _session_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[3])


def readers_at_once(place: Place) -> None:
    """Start several readers at one moment, without an index and with one that is behind."""
    folder = _Folder(place)
    for round_number in range(6):
        if round_number % 3 == 0:
            folder.forget_index()
        folder.change(round_number)
        readers = [place.start(*folder.query()) for _ in range(4)]
        for number, reader in enumerate(readers):
            ended = reader.wait()
            when = f"reader {number} of round {round_number}"
            expect(ended.code == 0, f"{when}: exit code {ended.code}: {last_line(ended.stderr)}")
            folder.check(ended.stdout, when)
        folder.check_now(f"after round {round_number}")


def damaged_index(place: Place) -> None:
    """Damage the index in many places and ways."""
    folder = _Folder(place)
    folder.check_now("the first answer")
    index = folder.index
    whole = index.read_bytes()
    for number in range(place.moments):
        position = (len(whole) - 1) * number // max(1, place.moments - 1)
        index.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        folder.check_now(f"byte {position} flipped")
        index.write_bytes(whole[:position])
        folder.check_now(f"cut after byte {position}")
        index.write_bytes(whole[:position] + bytes(min(4096, len(whole) - position)) + whole[position + 4096 :])
        folder.check_now(f"4096 zeros from byte {position} on")
