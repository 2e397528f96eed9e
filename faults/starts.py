"""Many processes that start a run at one moment in one folder: each must get a run directory of its own."""

from __future__ import annotations

import os

from faults._harness import Place, expect, last_line, run_dirs

STARTS = 32

# Waits at the gate (a pipe that the parent closes), so that all begin together.
PROGRAM = """
    import os
    import pystematic

    @pystematic.parameter(name="number", type=int, required=True)
    @pystematic.experiment
    def train(parameters, context):
        context.recorder.scalar("number", parameters["number"])
        print("I am", parameters["number"])

    if __name__ == "__main__":
        os.read(int(os.environ["GATE_FD"]), 1)
        pystematic.global_entrypoint()
"""

DRIVER = """
    import os, sys
    from pathlib import Path
    from pystematic.rundir import create_run_dir

    os.read(int(os.environ["GATE_FD"]), 1)
    run_dir = create_run_dir(Path(sys.argv[1]), "train", now=1767323045.0, draw_suffix=lambda: "aaaaaa")
    with open(run_dir.path / "owner", "x") as owner:
        owner.write(sys.argv[2])
    print(run_dir.id)
"""


def _start_together(place: Place, argv: list[list[str]]) -> list[str]:
    """Start one process for each argv, open the gate, and return what each has printed."""
    gate, opener = os.pipe()
    processes = [place.start(*args, pass_fd=gate, GATE_FD=str(gate)) for args in argv]
    os.close(gate)
    os.close(opener)
    ended = [process.wait() for process in processes]
    failed = [f"{one.code}: {last_line(one.stderr)}" for one in ended if one.code != 0]
    expect(not failed, f"{len(failed)} of {len(argv)} starts failed, the first with {failed[:1]}")
    return [one.stdout.strip() for one in ended]


def simultaneous(place: Place) -> None:
    program = str(place.write("prog.py", PROGRAM))
    said = _start_together(place, [[program, "train", "--number", str(i)] for i in range(STARTS)])
    runs = place.read()
    expect(len(runs) == STARTS, f"{len(runs)} runs of {STARTS} starts")
    expect({run["status"] for run in runs} == {"completed"}, f"statuses {[run['status'] for run in runs]}")
    logs = sorted(
        int(path.joinpath("log.txt").read_text(encoding="utf-8").rsplit("I am ", 1)[1].split()[0])
        for path in run_dirs(place.output_dir)
    )
    expect(logs == list(range(STARTS)), f"the logs are of {logs}")
    expect(all(f"I am {i}" in text for i, text in enumerate(said)), "a process has printed another one's text")


def equal_names(place: Place) -> None:
    driver = str(place.write("driver.py", DRIVER))
    output_dir = str(place.output_dir)
    ids = _start_together(place, [[driver, output_dir, str(i)] for i in range(STARTS)])
    expect(len(set(ids)) == STARTS, f"{len(set(ids))} names for {STARTS} starts")
    found = run_dirs(place.output_dir)
    expect(sorted(ids) == sorted(path.name for path in found), "the names said are not the folders made")
    owners = sorted(int((path / "owner").read_text()) for path in found)
    expect(owners == list(range(STARTS)), f"owners {owners}")
    expect(place.read() == [], "folders without run.json are listed as runs")
