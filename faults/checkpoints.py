"""Checkpoints under fire: savers that are killed, damaged files, a full disk, two resumers, code in a file."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from pathlib import Path

from faults._harness import Place, expect, last_line

PROGRAM = """
    import os, sys, time
    import torch
    import pystematic

    @pystematic.parameter(name="steps", type=int, default=1000000)
    @pystematic.experiment
    def train(parameters, context):
        context.weights = torch.zeros(20000)
        context.counter = {"count": 0}
        for epoch in context.epochs(parameters["steps"]):
            assert float(context.weights[0]) == context.counter["count"], "weights and counter are of two checkpoints"
            context.weights = context.weights + 1
            context.counter["count"] += 1
            context.save_checkpoint("same" if epoch % 2 else None)
            if epoch == 2:
                open("ready", "w").close()
            context.recorder.scalar("count", context.counter["count"])
            context.recorder.step()
        print("ended at", context.counter["count"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def _killed_run(place: Place, delay_s: float = 0.0) -> Path:
    place.write("prog.py", PROGRAM)
    process = place.start("prog.py", "train")
    while not (place.folder / "ready").exists():
        expect(process.popen.poll() is None, "the program ended too early")
        time.sleep(0.005)
    time.sleep(delay_s)
    os.killpg(process.popen.pid, signal.SIGKILL)
    process.popen.wait()
    (run_dir,) = (place.output_dir / "train").iterdir()
    return run_dir


def _resume(place: Place, run_dir: Path) -> str:
    """Go on for a few steps, and return what was said."""
    manifest = json.loads((run_dir / "checkpoints" / "manifest.json").read_text())
    last = max(int(entry["epoch"]) for entry in manifest["checkpoints"])
    ended = place.run("prog.py", "train", "--resume", run_dir.name, "--steps", str(last + 4))
    expect(ended.code == 0, f"the resumed run ended with {ended.code}: {last_line(ended.stderr)}")
    expect("ended at" in ended.stdout, "the resumed run did not come to its end")
    left = {path.name for path in (run_dir / "checkpoints").iterdir()} - {"manifest.json"}
    manifest = json.loads((run_dir / "checkpoints" / "manifest.json").read_text())
    listed = {entry["file"] for entry in manifest["checkpoints"]}
    expect(left == listed, f"files and manifest differ: {sorted(left ^ listed)}")
    return ended.stderr


def killed_while_saving(place: Place) -> None:
    for moment in range(place.moments):
        sub = place.sub(f"moment-{moment}")
        said = _resume(sub, _killed_run(sub, 0.0007 * moment))
        expect("Resuming" in said and "from checkpoint" in said, "no checkpoint was whole")
        expect("passed over" not in said, "a listed checkpoint was not whole")


def damaged(place: Place) -> None:
    for damage in ("cut", "flipped", "empty", "gone"):
        sub = place.sub(damage)
        run_dir = _killed_run(sub)
        folder = run_dir / "checkpoints"
        newest = json.loads((folder / "manifest.json").read_text())["checkpoints"][-1]
        path = folder / newest["file"]
        content = bytearray(path.read_bytes())
        if damage == "gone":
            path.unlink()
        else:
            content[len(content) // 2] ^= 255
            path.write_bytes({"cut": content[:-64], "flipped": content, "empty": b""}[damage])
        (folder / "checkpoint-999999.pt.1.tmp").write_bytes(b"half")
        said = _resume(sub, run_dir)
        expect(f"the checkpoint {newest['file']!r}" in said and "passed over" in said, f"{damage}: it was not said")


def full_disk(place: Place) -> None:
    # A limit on the size of files fails writes as a full disk does, in this process alone.
    limited = PROGRAM.replace(
        "context.weights = torch.zeros(20000)",
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); context.weights = torch.zeros(20000)",
    )
    place.write("prog.py", limited)
    ended = place.run("prog.py", "train", "--steps", "3")
    expect(ended.code == 0, f"the run ended with {ended.code}: {last_line(ended.stderr)}")
    expect("could not be saved" in ended.stderr, "nobody said that the checkpoint was not saved")
    (run_dir,) = (place.output_dir / "train").iterdir()
    left = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    expect(left == [], f"left behind: {left}")


def double_resume(place: Place) -> None:
    run_dir = _killed_run(place)
    started = [place.start("prog.py", "train", "--resume", run_dir.name) for _ in range(2)]
    deadline = time.monotonic() + 60
    while all(process.popen.poll() is None for process in started):
        expect(time.monotonic() < deadline, "both resumers go on with one run")
        time.sleep(0.01)
    refused = next(process for process in started if process.popen.poll() is not None)
    other = next(process for process in started if process is not refused)
    expect(other.popen.poll() is None, "neither resumer goes on")
    os.killpg(other.popen.pid, signal.SIGKILL)
    other.popen.wait()
    said = refused.wait()
    expect(said.code == 1, f"the second resumer ended with {said.code}")
    expect("is being resumed by" in said.stderr or "is alive" in said.stderr, f"it said: {last_line(said.stderr)}")


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("bombed",)


def pickle_bomb(place: Place) -> None:
    place.write("prog.py", PROGRAM)
    (place.folder / "bomb.pt").write_bytes(pickle.dumps({"pystematic": 1, "state": _Bomb()}))
    ended = place.run("prog.py", "train", "--checkpoint", "bomb.pt", "--steps", "1")
    expect(ended.code != 0, "a file that carries code was taken")
    expect(not (place.folder / "bombed").exists(), "code of the file was executed")
    expect("can execute code when it is read" in ended.stderr, f"it said: {last_line(ended.stderr)}")
