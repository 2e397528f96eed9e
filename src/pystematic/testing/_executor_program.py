"""The experiment that `ExecutorCases` runs: does what its parameter says, and tells the test by files in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from pystematic._experiment import Experiment
from pystematic.declare import Parameter


def perform(parameters: Any) -> None:
    """Be one run of the cases."""
    action = str(parameters["action"])
    tell(parameters, "began", str(os.getpid()))
    if action == "fail":
        raise ValueError("as it was told to")
    if action == "exit":
        sys.exit(3)
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "print":
        print(f"read {sys.stdin.read()!r} in {os.getcwd()}")
        os.system("echo from a child")
    if action == "leave":
        # One in a session of its own, which no signal to the group of the run reaches.
        code = "import time; time.sleep(600)"
        pids = [subprocess.Popen([sys.executable, "-c", code], start_new_session=own).pid for own in (False, True)]
        tell(parameters, "left", " ".join(map(str, pids)))
    if action == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if action == "eat":
        hoard = [bytes(1 << 20).replace(b"\0", b"x") for _ in range(300)]
        tell(parameters, "ate", str(len(hoard)))
    if action in ("wait", "stubborn", "eat"):
        tell(parameters, "waits", "")
        while not os.path.exists(os.path.join(parameters["folder"], "go")):
            time.sleep(0.01)


def tell(parameters: Any, what: str, text: str) -> None:
    """Write a file that the test reads, in one step."""
    path = os.path.join(parameters["folder"], f"{what}-{parameters['label']}")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


# Not by the decorator: this is no experiment of the program that runs the tests.
case = Experiment(perform, "case")
for _name in ("action", "folder", "label"):
    case.add_parameter(Parameter(_name, str, "end"))
case.add_parameter(Parameter("size", int, 1))
