"""Numbers that are being recorded: whatever is killed, full, removed or damaged, little is lost, and it is counted."""

from __future__ import annotations

import json
import random
import shlex
import signal
import sys
import time
from pathlib import Path

from faults._harness import CaseError, Place, expect, last_line, spread
from faults.disks import mount_command, run_shell

# What was recorded longer ago than this is never lost, and no call may hold the program up longer.
LIMIT_S = 1.0

# Records 0, 1, 2, ... with INTERVAL seconds between them, tells when it begins ("b") and when flush() has returned
# ("f") after FLUSH_AFTER of them, and goes on until it is killed.
ENDLESS = """
    import os, sys, time
    import pystematic

    FD, INTERVAL, FLUSH_AFTER = int(os.environ["NOTIFY_FD"]), float(sys.argv[2]), int(sys.argv[3])
    recorder = pystematic.Recorder(sys.argv[1])
    began = time.monotonic()
    for number in range(10**9):
        recorder.scalar("n", number, number)
        if number == 0:
            os.write(FD, b"b")
        if number + 1 == FLUSH_AFTER:
            recorder.flush()
            os.write(FD, b"f")
        if INTERVAL:
            time.sleep(max(0.0, began + (number + 1) * INTERVAL - time.monotonic()))
"""

READER = """
    import json, sys, warnings
    warnings.simplefilter("error")
    from pystematic import rundir

    recorded = rundir.read_series(sys.argv[1])
    summary = rundir.read_document(rundir.RunDir(sys.argv[1]).summary_file) or {}
    points = {tag: [one.steps, one.times, one.values] for tag, one in recorded.points.items()}
    print(json.dumps([points, recorded.damaged_lines, summary.get("dropped")]))
"""


def kill_at_100_a_second(place: Place) -> None:
    _kill(place, interval_s=0.01)


def kill_at_1_a_second(place: Place) -> None:
    _kill(place, interval_s=1.0)


def kill_at_full_speed(place: Place) -> None:
    _kill(place, interval_s=0.0)


def _kill(place: Place, interval_s: float) -> None:
    for i, delay_s in enumerate(spread(min(place.moments, 10), 1.0, 4.0 if interval_s == 1.0 else 2.5)):
        inner = place.sub(f"moment-{i}")
        process = inner.start(_program(inner), "run", str(interval_s), "0", notify=True)
        process.wait_for(b"b")
        time.sleep(delay_s)
        killed_at = time.time()
        process.signal(signal.SIGKILL)
        process.notes()
        process.wait()
        times, values = _read_numbers(inner, "run")
        expect(values == list(range(len(values))), f"killed after {delay_s:.2f} s: not all numbers are there")
        missing_s = killed_at - (times[-1] + interval_s)  # how old the first missing one would be
        expect(missing_s < LIMIT_S, f"killed after {delay_s:.2f} s: what is {missing_s:.2f} s old is lost")


def kill_after_flush(place: Place) -> None:
    """What flush() has returned for is there, however soon the kill comes."""
    for i, count in enumerate((1, 100, 50_000)):
        inner = place.sub(f"count-{i}")
        process = inner.start(_program(inner), "run", "0", str(count), notify=True)
        process.wait_for(b"f")
        process.signal(signal.SIGKILL)
        process.notes()
        process.wait()
        _, values = _read_numbers(inner, "run")
        expect(values[:count] == list(range(count)), f"{len(values)} of {count} flushed numbers are there")


RANK = """
    import os, sys
    import pystematic

    rank, count = int(sys.argv[2]), int(sys.argv[3])
    recorder = pystematic.Recorder(sys.argv[1], rank=rank)
    for step in range(count):
        recorder.weight = rank + 1
        recorder.scalar("loss", float(rank), step)
        recorder.scalar(f"own-{rank}", step, step)
    recorder.close()
"""


def eight_writers(place: Place) -> None:
    """Eight ranks write into one folder at once; each point of the merged series is the weighted mean of all."""
    count = 20_000
    program = place.write("rank.py", RANK)
    processes = [place.start(program, "run", str(rank), str(count)) for rank in range(8)]
    for process in processes:
        ended = process.wait()
        expect(ended.code == 0, f"a rank ended with {ended.code}: {last_line(ended.stderr)}")
    points, damaged, _ = _read(place, "run")
    expect(damaged == 0, f"{damaged} damaged lines")
    mean = sum(rank * (rank + 1) for rank in range(8)) / sum(range(1, 9))
    steps, _, values = points["loss"]
    expect(sorted(steps) == list(range(count)), f"{len(steps)} merged points of {count}")
    wrong = [value for value in values if abs(value - mean) > 1e-12]
    expect(not wrong, f"{len(wrong)} merged points are not the mean {mean}, but for instance {wrong[:1]}")
    for rank in range(8):
        expect(points[f"own-{rank}"][2] == list(range(count)), f"numbers of rank {rank} are missing")


# Records for a while, lets DISTURB happen, records on, REPAIRs, records on; prints the longest call and the count.
DISTURBED = """
    import os, sys, time
    import pystematic

    recorder = pystematic.Recorder("disk/run")
    worst, number = 0.0, 0

    def record(seconds):
        global worst, number
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            before = time.monotonic()
            recorder.scalar("n", number, number)
            worst = max(worst, time.monotonic() - before)
            number += 1
            time.sleep(0.0005)

    record(0.8)
    exec(sys.argv[1])
    record(2.0)
    exec(sys.argv[2])
    record(1.5)
    recorder.close()
    print(worst, number)
"""

FILL = """
with open("disk/filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
"""


def disk_full_for_a_while(place: Place) -> None:
    command = _need_namespace()
    script = "mount -t tmpfs -o size=4m none disk"
    said = _disturb(place, command, script, FILL, "os.unlink('disk/filler')", lost=0)
    expect(said.count("No space left") == 1, f"the full disk is not said once: {said[-500:]}")


def folder_removed(place: Place) -> None:
    """What was in the file when it was removed is gone; what is recorded later stands in a new one."""
    remove = "import shutil; shutil.rmtree('disk/run')"
    _disturb(place, [], "true", remove, "os.makedirs('disk/run')", lost=None)


def folder_read_only(place: Place) -> None:
    command = _need_namespace()
    mount = "mount -t tmpfs -o size=64m none disk"
    remount = "import subprocess; subprocess.run(['mount', '-o', {}, 'disk'])"
    forbid, allow = remount.format("'remount,ro'"), remount.format("'remount,rw'")
    _disturb(place, command, mount, forbid, allow, lost=0)


def _need_namespace() -> list[str]:
    command = mount_command()
    if command is None:
        raise CaseError("this machine allows no mount of our own, which the case needs")
    return command


def _disturb(place: Place, command: list[str], setup: str, disturb: str, repair: str, *, lost: int | None) -> str:
    """Run the program around a disturbance and judge what is left; return what it said."""
    (place.folder / "disk").mkdir()
    program = place.write("disturbed.py", DISTURBED)
    words = " ".join(map(shlex.quote, [sys.executable, str(program), disturb, repair]))
    done = run_shell(place, command, f"{setup} && {words}; code=$?; cp -r disk/run left; exit $code")
    expect(done.code == 0, f"the program ended with {done.code}: {last_line(done.stderr)}")
    expect("Traceback" not in done.stderr, f"a traceback: {last_line(done.stderr)}")
    worst_s, number = float(done.stdout.split()[-2]), int(done.stdout.split()[-1])
    expect(worst_s < LIMIT_S, f"a call took {worst_s:.2f} s")
    points, damaged, dropped = _read(place, "left")
    values = [int(value) for value in points["n"][2]]
    missing = sorted(set(range(number)) - set(values))
    expect(len(values) == len(set(values)), "a number is there twice")
    if lost is None:  # those in the removed file: the first ones
        first = values[0]
        expect(values == list(range(first, number)), f"numbers recorded after the removal are missing: {missing[-3:]}")
        expect(first < number / 2, f"only the last {len(values)} of {number} are there")
    else:
        expect(len(missing) == (dropped or 0), f"{len(missing)} are missing, and {dropped} are said to be dropped")
        expect(len(missing) == lost, f"{len(missing)} of {number} are missing")
    expect(damaged <= 1, f"{damaged} damaged lines")
    return done.stderr


def cut_anywhere(place: Place) -> None:
    """The file is cut at each byte of its last three records: the others are there, and at most one line is damaged."""
    content = _recorded(place, 20)
    lines = content.splitlines(keepends=True)
    begin = len(content) - sum(map(len, lines[-3:]))
    cut = place.folder / "cut"
    cut.mkdir()
    for size in range(begin, len(content) + 1):
        (cut / "metrics.jsonl").write_bytes(content[:size])
        points, damaged, _ = _read_here(cut)
        whole = content[:size].count(b"\n")
        ends_whole = any(len(content[:size]) == sum(map(len, lines[:n])) - 1 for n in range(18, 21))
        expected = whole + ends_whole  # a last record that only lacks its line end is whole
        expect(points == list(range(expected)), f"cut at byte {size}: {len(points)} of {expected} numbers are there")
        torn = content[:size].rsplit(b"\n", 1)[-1]
        expect(damaged == int(bool(torn) and not ends_whole), f"cut at byte {size}: {damaged} damaged lines")


def flipped_bytes(place: Place) -> None:
    """Two hundred bytes are changed: every line that was not touched is read."""
    whole = _recorded(place, 2000)
    content = bytearray(whole)
    draw = random.Random(1)
    places = draw.sample(range(len(content)), 200)
    for position in places:
        content[position] ^= 1 << draw.randrange(8)
    flipped = place.folder / "flipped"
    flipped.mkdir()
    (flipped / "metrics.jsonl").write_bytes(content)
    points, damaged, _ = _read_here(flipped)
    untouched, begin = [], 0
    for number, line in enumerate(whole.splitlines(keepends=True)):
        end = begin + len(line)
        # With the line end before it, without which it is a part of another line.
        if content[max(0, begin - 1) : end] == whole[max(0, begin - 1) : end]:
            untouched.append(number)
        begin = end
    missing = sorted(set(untouched) - set(points))
    expect(not missing, f"untouched numbers are missing: {missing[:5]}")
    expect(0 < damaged <= 400, f"{damaged} damaged lines")


ODD = """
    import math, sys
    import pystematic
    from pystematic import rundir

    values = [math.nan, math.inf, -math.inf, -0.0, 1e-310, 5e-324, 1.7e308, 2**63, -(2**63) - 1, 10**400, True, 7]
    tags = ["", " ", "a/b", "../x", "ü", "😀", "a\\nb", "a\\0b", "\\ud800", '"', "\\\\", "x" * 5000, "{}", "null"]
    with pystematic.Recorder("run") as recorder:
        for tag in tags:
            for step, value in enumerate(values):
                recorder.scalar(tag, value, step)
    points = rundir.read_series("run").points
    assert list(points) == tags, list(points)
    for tag in tags:
        for value, read in zip(values, points[tag].values, strict=True):
            same = read != read if value != value else (repr(read), type(read)) == (repr(value), type(value))
            assert same or (value is True and read == 1), (tag, value, read)
    print("equal")
"""


def odd_values_and_tags(place: Place) -> None:
    ended = place.run(place.write("odd.py", ODD))
    expect(ended.stdout == "equal\n", f"not all came back: {last_line(ended.stderr)}")


def _program(place: Place) -> Path:
    return place.write("endless.py", ENDLESS)


def _read_numbers(place: Place, folder: str) -> tuple[list[float], list[int]]:
    points, damaged, _ = _read(place, folder)
    expect(damaged <= 1, f"{damaged} damaged lines after one kill")
    return points["n"][1], [int(value) for value in points["n"][2]]


def _read(place: Place, folder: str) -> tuple[dict[str, list[list[float]]], int, int | None]:
    """Read series in a fresh process: by tag steps, times and values; then damaged lines and dropped numbers."""
    ended = place.run(place.write("reader.py", READER), folder)
    expect(ended.code == 0, f"the reader failed: {last_line(ended.stderr)}")
    points, damaged, dropped = json.loads(ended.stdout)
    return points, damaged, dropped


def _read_here(folder: Path) -> tuple[list[int], int, None]:
    from pystematic import rundir

    recorded = rundir.read_series(folder)
    points = recorded.points.get("n")
    values = points.values if points is not None else []
    return [int(value) for value in values if value == value and abs(value) < 1e9], recorded.damaged_lines, None


def _recorded(place: Place, count: int) -> bytes:
    program = place.write(
        "record.py",
        f"""
        import pystematic
        with pystematic.Recorder("whole") as recorder:
            for number in range({count}):
                recorder.scalar("n", number, number)
        """,
    )
    ended = place.run(program)
    expect(ended.code == 0, f"recording failed: {last_line(ended.stderr)}")
    content = (place.folder / "whole" / "metrics.jsonl").read_bytes()
    there = content.count(b"\n")
    expect(there == count, f"{count} numbers were recorded, {there} are there")
    return content
