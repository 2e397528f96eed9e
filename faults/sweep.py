"""Sweeps whose coordinator or runs are ended in every way: no point lost, none made twice, no process left."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from faults._harness import Ended, Place, Process, expect, last_line
from faults.disks import mount_command, run_shell

POINTS = 8
GONE_WITHIN_S = 5.0

# Each run leaves two children, one of them in a session of its own, and shows when it is at work.
PROGRAM = """
    import os, signal, subprocess, time
    import pystematic

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.parameter(name="busy", type=float, default=0.05)
    @pystematic.parameter(name="stubborn", type=bool, default=False, identity=False)
    @pystematic.experiment
    def train(parameters, context):
        if parameters["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for own in (False, True):
            subprocess.Popen(["sleep", "600"], start_new_session=own)
        context.recorder.scalar("x", parameters["x"])
        with open(f"began-{parameters['x']}-{os.getpid()}", "w"):
            pass
        time.sleep(parameters["busy"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

STUBBORN = ("--stubborn",)

# A run that finds its device in use fails.
DEVICES_PROGRAM = """
    import os, time
    import pystematic

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters, context):
        device = os.environ["CUDA_VISIBLE_DEVICES"]
        os.mkdir(f"used/{device}")
        with open(f"device-{parameters['x']}", "w") as file:
            file.write(device)
        time.sleep(0.1)
        os.rmdir(f"used/{device}")

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

# The fourth run fills the disk, unless that was done and undone already.
FILLING_PROGRAM = """
    import os
    import pystematic

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters, context):
        context.recorder.scalar("x", parameters["x"])
        if parameters["x"] == 4 and not os.path.exists("emptied"):
            with open("disk/filler", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(512))
                except OSError:
                    pass

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


def interrupt_thrice(place: Place) -> None:
    """A third Ctrl-C kills runs that ignore being asked."""
    process = _begin(place, "600", STUBBORN)
    for _ in range(3):
        process.signal(signal.SIGINT)
        time.sleep(0.5)
    _expect_interrupted(place, process.wait(), 130)


def hang(place: Place) -> None:
    """A run that hangs past its time and ignores SIGTERM is killed, and the next one begins."""
    program = place.write("program.py", PROGRAM)
    words = ["--jobs", "2", "--timeout", "1s", "train", "--x", "1..2", "--busy", "600", *STUBBORN, "--grace", "1s"]
    ended = place.run(program, "sweep", *words)
    expect(ended.code == 1, f"exit code {ended.code}: {_said(ended)}")
    errors = {str(run["error"] and run["error"]["type"]) for run in place.read()}  # type: ignore[index]
    expect(errors == {"timeout"}, f"the errors are {errors}")
    _expect_gone(place, "after the sweep")


def share_devices(place: Place) -> None:
    """Two sweeps at once on the same (fake) devices: no device is ever used by two runs."""
    program = place.write("program.py", DEVICES_PROGRAM)
    (place.folder / "used").mkdir()
    env = {"PYSTEMATIC_GPU_UUIDS": "GPU-0,GPU-1,GPU-2", "PYSTEMATIC_GPU_DIR": str(place.folder / "leases")}
    sweeps = [
        place.start(program, "sweep", "--name", name, "--jobs", "3", "--gpus", "1", "train", "--x", points, **env)
        for name, points in (("a", "1..12"), ("b", "21..32"))
    ]
    for process in sweeps:
        ended = process.wait()
        expect(ended.code == 0, f"exit code {ended.code}: {_said(ended)}")
    runs = place.read()
    expect(len(runs) == 24, f"{len(runs)} runs, not 24")
    expect({str(run["status"]) for run in runs} == {"completed"}, "a run found another one on its device")
    used = {line for path in place.folder.glob("device-*") for line in path.read_text().split()}
    expect(used == {"GPU-0", "GPU-1", "GPU-2"}, f"the devices were {used}")


def full_disk(place: Place) -> None:
    """A disk that is full in mid sweep: one message, nothing left running; with room again a retry ends it."""
    namespace = mount_command()
    if namespace is None:
        return  # nobody may mount here; the cases of disks say so
    program = place.write("program.py", FILLING_PROGRAM)
    (place.folder / "disk").mkdir()
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} sweep --name s --jobs 2"
    points = f"train --x 1..{POINTS} --output-dir disk/output"
    script = (
        f"mount -t tmpfs -o size=4m none disk && {command} {points} 2> first.err; echo $? > first; "
        f"rm -f disk/filler; touch emptied; {command} --retry all {points} 2> second.err; "
        "code=$?; cp -r disk/output output; exit $code"
    )
    ended = run_shell(place, namespace, script)
    said = (place.folder / "first.err").read_text()
    expect((place.folder / "first").read_text().strip() == "1", f"the full disk: {last_line(said)}")
    expect("Traceback" not in said, f"a traceback: {last_line(said)}")
    expect(ended.code == 0, f"with room again: {ended.code}, {last_line((place.folder / 'second.err').read_text())}")
    _expect_each_point_once(place, "with room again")
    _expect_gone(place, "after both")


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


def _sweep(place: Place, busy: str = "0.05", more: Sequence[str] = ()) -> Process:
    program = place.write("program.py", PROGRAM)
    return place.start(program, "sweep", "--jobs", "2", "train", "--x", f"1..{POINTS}", "--busy", busy, *more)


def _begin(place: Place, busy: str, more: Sequence[str] = ()) -> Process:
    process = _sweep(place, busy, more)
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
