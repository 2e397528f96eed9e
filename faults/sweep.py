"""Sweeps whose coordinator or runs are ended in every way: no point lost, none made twice, no process left."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

from faults._harness import Ended, Place, Process, expect, last_line

POINTS = 8
GONE_WITHIN_S = 5.0

# Each run leaves two children, one of them in a session of its own, and shows when it is at work.
PROGRAM = """
    import os, subprocess, time
    import pystematic

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.parameter(name="busy", type=float, default=0.05)
    @pystematic.experiment
    def train(parameters, context):
        for own in (False, True):
            subprocess.Popen(["sleep", "600"], start_new_session=own)
        context.recorder.scalar("x", parameters["x"])
        with open(f"began-{parameters['x']}-{os.getpid()}", "w"):
            pass
        time.sleep(parameters["busy"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def kill_coordinator(place: Place) -> None:
    """Kill the coordinator at moments spread over a sweep, and give the same command again."""
    whole = place.sub("whole")
    began = time.monotonic()
    ended = _sweep(whole).wait()
    expect(ended.code == 0, f"the sweep ended with {ended.code}: {last_line(ended.stderr)}")
    length_s = time.monotonic() - began
    for number in range(place.moments):
        moment_s = length_s * (number + 0.5) / place.moments
        here = place.sub(f"moment-{number}")
        process = _sweep(here)
        time.sleep(moment_s)
        process.signal(signal.SIGKILL)
        process.wait()
        _expect_gone(here, f"after kill -9 at {moment_s:.2f} s")
        again = _sweep(here).wait()
        expect(again.code == 0, f"killed at {moment_s:.2f} s, the command again: {again.code}, {_said(again)}")
        _expect_each_point_once(here, f"killed at {moment_s:.2f} s")


def interrupt_once(place: Place) -> None:
    """A first Ctrl-C starts no more and lets the running ones finish."""
    process = _begin(place, "0.5")
    process.signal(signal.SIGINT)
    ended = process.wait()
    expect(ended.code == 130, f"exit code {ended.code} after one Ctrl-C: {_said(ended)}")
    statuses = Counter(str(run["status"]) for run in place.read())
    expect(set(statuses) == {"completed"}, f"after one Ctrl-C the runs are {dict(statuses)}")
    expect(0 < statuses["completed"] < POINTS, f"{statuses['completed']} runs after one Ctrl-C")
    _expect_gone(place, "after one Ctrl-C")


def interrupt_twice(place: Place) -> None:
    """A second Ctrl-C asks the running ones to end."""
    process = _begin(place, "600")
    process.signal(signal.SIGINT)
    time.sleep(0.5)
    process.signal(signal.SIGINT)
    _expect_interrupted(place, process.wait(), 130)


def terminate(place: Place) -> None:
    """SIGTERM is the second stage of Ctrl-C at once."""
    process = _begin(place, "600")
    process.signal(signal.SIGTERM)
    _expect_interrupted(place, process.wait(), 143)


def kill_run(place: Place) -> None:
    """A run that is killed costs only itself, and the sweep ends with 1."""
    process = _begin(place, "0.3")
    pid = int(next(place.folder.glob("began-*")).name.rpartition("-")[2])
    os.kill(pid, signal.SIGKILL)
    ended = process.wait()
    expect(ended.code == 1, f"exit code {ended.code}: {_said(ended)}")
    runs = place.read()
    kinds = Counter(str(run["status"]) for run in runs)
    expect(kinds == {"completed": POINTS - 1, "failed": 1}, f"the runs are {dict(kinds)}")
    errors = [run["error"] for run in runs if run["status"] == "failed"]
    expect(isinstance(errors[0], dict) and errors[0].get("type") == "killed", f"its error is {errors[0]}")
    _expect_gone(place, "after the sweep")


def _sweep(place: Place, busy: str = "0.05") -> Process:
    program = place.write("program.py", PROGRAM)
    return place.start(program, "sweep", "--jobs", "2", "train", "--x", f"1..{POINTS}", "--busy", busy)


def _begin(place: Place, busy: str) -> Process:
    process = _sweep(place, busy)
    end = time.monotonic() + 60.0
    while not list(place.folder.glob("began-*")):
        expect(time.monotonic() < end and process.popen.poll() is None, "no run has begun")
        time.sleep(0.01)
    return process


def _expect_interrupted(place: Place, ended: Ended, code: int) -> None:
    expect(ended.code == code, f"exit code {ended.code}, not {code}: {_said(ended)}")
    statuses = {str(run["status"]) for run in place.read()}
    expect(statuses == {"interrupted"}, f"the runs are {statuses}")
    _expect_gone(place, "after the end of the sweep")


def _expect_each_point_once(place: Place, when: str) -> None:
    made = Counter(
        Path(str(run["path"])).joinpath("parameters.yaml").read_text().split("x:")[1].split()[0]
        for run in place.read()
        if run["status"] == "completed"
    )
    wrong = {x: made[str(x)] for x in range(1, POINTS + 1) if made[str(x)] != 1}
    expect(not wrong, f"{when}: completed runs by point: {wrong}")


def _expect_gone(place: Place, when: str) -> None:
    end = time.monotonic() + GONE_WITHIN_S
    while (left := _processes_in(place.folder)) and time.monotonic() < end:
        time.sleep(0.02)
    expect(not left, f"{when}: processes are left: {left}")


def _processes_in(folder: Path) -> list[int]:
    """Return the processes that work in this folder."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and os.readlink(f"/proc/{name}/cwd") == str(folder.resolve()):
                found.append(int(name))
        except OSError:
            continue
    return found


def _said(ended: Ended) -> str:
    return last_line(ended.stderr or ended.stdout)
