"""Signals at moments spread over a program's start and end: what is left must be whole, and the status the truth."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from faults._harness import CaseError, Ended, Place, expect, spread

# Tells when the main function begins ("b") and is about to return ("e"). With COUNT set to a phase, each operation on
# files and processes in that phase is told too ("."), and the process kills itself before operation number KILL_AT.
PROGRAM = """
    import os, signal, sys

    NOTIFY_FD, COUNT, KILL_AT = int(os.environ["NOTIFY_FD"]), os.environ.get("COUNT"), int(os.environ.get("KILL_AT", 0))
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    COUNTED = {"os.mkdir", "os.rename", "os.remove", "os.utime", "os.link", "os.truncate", "os.fork",
               "os.posix_spawn", "subprocess.Popen", "_thread.start_new_thread"}
    phase, count = "start", 0

    def look(event, args):
        global count
        if phase == COUNT and (event in COUNTED or event == "open" and (args[2] or 0) & WRITING):
            count += 1
            os.write(NOTIFY_FD, b".")
            if count == KILL_AT:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    import pystematic

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3)
    @pystematic.parameter(name="name", type=str, default="x" * 2000)
    @pystematic.experiment
    def train(parameters, context):
        global phase
        phase = "main"
        os.write(NOTIFY_FD, b"b")
        for step in range(50):
            context.recorder.scalar("loss", 1 / (step + 1))
            context.recorder.step()
        print("a line of the program")
        phase = "end"
        os.write(NOTIFY_FD, b"e")

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

# What may be true of a run whose process was ended by this signal at any moment.
TRUTHS = {
    signal.SIGKILL: {"lost", "completed"},
    signal.SIGTERM: {"lost", "interrupted", "completed"},
    signal.SIGINT: {"lost", "interrupted", "completed"},
}


def kill_at_start(place: Place) -> None:
    _sweep_start(place, signal.SIGKILL)


def kill_at_end(place: Place) -> None:
    _sweep_end(place, signal.SIGKILL)


def terminate_at_start(place: Place) -> None:
    _sweep_start(place, signal.SIGTERM)


def terminate_at_end(place: Place) -> None:
    _sweep_end(place, signal.SIGTERM)


def interrupt_at_start(place: Place) -> None:
    _sweep_start(place, signal.SIGINT)


def interrupt_at_end(place: Place) -> None:
    _sweep_end(place, signal.SIGINT)


def kill_at_operations_of_start(place: Place) -> None:
    _sweep_operations(place, "start")


def kill_at_operations_of_end(place: Place) -> None:
    _sweep_operations(place, "end")


def _sweep_start(place: Place, number: signal.Signals) -> None:
    begins_s = _normal_run(place)[0]
    for i, delay_s in enumerate(spread(place.moments, 0.25 * begins_s, 1.1 * begins_s)):
        inner = place.sub(f"moment-{i}")
        process = inner.start(_program(inner), "train", "--output-dir", inner.output_dir, notify=True)
        time.sleep(max(0.0, process.started + delay_s - time.monotonic()))
        process.signal(number)
        began = b"b" in process.notes()
        _judge(inner, process.wait(), number, began, f"{delay_s * 1000:.0f} ms after the start")


def _sweep_end(place: Place, number: signal.Signals) -> None:
    ends_s = _normal_run(place)[1]
    for i, delay_s in enumerate(spread(place.moments, 0.0, 1.1 * ends_s)):
        inner = place.sub(f"moment-{i}")
        process = inner.start(_program(inner), "train", "--output-dir", inner.output_dir, notify=True)
        process.wait_for(b"e")
        time.sleep(delay_s)
        process.signal(number)
        _judge(inner, process.wait(), number, True, f"{delay_s * 1000:.0f} ms after the main function")


def _sweep_operations(place: Place, phase: str) -> None:
    inner = place.sub("count")
    process = inner.start(_program(inner), "train", "--output-dir", inner.output_dir, notify=True, COUNT=phase)
    operations = process.notes().count(b".")
    ended = process.wait()
    expect(ended.code == 0, f"the program ended with {ended.code}")
    expect(operations >= 2, f"only {operations} operations were seen")
    chosen = sorted({round(n) for n in spread(place.moments, 1, operations)})
    for n in chosen:
        inner = place.sub(f"operation-{n}")
        program = _program(inner)
        process = inner.start(
            program, "train", "--output-dir", inner.output_dir, notify=True, COUNT=phase, KILL_AT=str(n)
        )
        began = b"b" in process.notes()
        _judge(inner, process.wait(), signal.SIGKILL, began, f"before operation {n} of {operations}")


def _program(place: Place) -> Path:
    return place.write("prog.py", PROGRAM)


def _normal_run(place: Place) -> tuple[float, float]:
    """Run undisturbed, twice as the first fills caches; return when main began, and how long the end took."""
    begins_s = ends_s = 0.0
    for name in ("cold", "normal"):
        inner = place.sub(name)
        process = inner.start(_program(inner), "train", "--output-dir", inner.output_dir, notify=True)
        begins_s = process.wait_for(b"b")
        before_end_s = process.wait_for(b"e")
        ended = process.wait()
        ends_s = time.monotonic() - process.started - before_end_s
        expect(ended.code == 0, f"undisturbed, it ended with {ended.code}: {ended.stderr[-300:]}")
    statuses = [run["status"] for run in inner.read()]
    expect(statuses == ["completed"], f"undisturbed, the status is {statuses}")
    return begins_s, ends_s


def _judge(place: Place, ended: Ended, number: signal.Signals, began: bool, moment: str) -> None:
    try:
        runs = place.read()
        statuses = [run["status"] for run in runs]
        expect(len(runs) <= 1, f"{len(runs)} runs")
        expect(len(runs) == 1 or not began, "the main function ran, and no run is listed")
        allowed = TRUTHS[number] if began else TRUTHS[number] - {"completed"}
        if ended.code == 0:
            allowed = {"completed"}  # the signal came too late
        expect(ended.code in (0, 128 + number), f"exit code {ended.code} after {number.name}")
        expect(set(statuses) <= allowed, f"status {statuses}, exit code {ended.code}")
        for run in runs:
            if run["recorded"] == "running":
                expect(run["status"] == "lost", "run.json says running, the reader does not say lost")
            shown = place.pystematic("show", str(run["path"]), "--output", "json")
            expect(shown.code == 0, f"pystematic show: {shown.stderr[-300:]}")
        again = place.run("prog.py", "train", "--output-dir", place.output_dir, NOTIFY_FD="1")
        expect(again.code == 0, f"the next start there ended with {again.code}: {again.stderr[-300:]}")
    except CaseError as failure:
        raise CaseError(f"{number.name} {moment}: {failure}") from None
