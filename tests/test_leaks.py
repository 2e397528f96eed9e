"""The look for leaks in conftest.py, seen from a run of pytest over tests that leak one thing each."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.builders import run_python

LEAKING_TESTS = """
import logging, os, pathlib, signal, subprocess, sys, threading, warnings

KEPT = []

def test_variable():
    os.environ["LEAKED"] = "yes"

def test_folder():
    os.chdir("/")

def test_handler():
    logging.getLogger().addHandler(logging.NullHandler())

def test_level():
    logging.getLogger().setLevel(7)

def test_signal():
    signal.signal(signal.SIGTERM, lambda *args: None)

def test_stream():
    sys.stdout = sys.__stdout__

def test_thread():
    KEPT.append(threading.Event())
    threading.Thread(target=KEPT[-1].wait, name="leaked", daemon=True).start()

def test_child():
    KEPT.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_file():
    pathlib.Path(__file__).parent.parent.joinpath("leaked.txt").touch()

def test_hook():
    sys.excepthook = lambda *args: None

def test_warning():
    warnings.warn("a warning")

def test_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KEPT", "no")
    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.txt").touch()
    thread = threading.Thread(target=print)
    thread.start()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""

EXPECTED = {
    "test_variable": "environment variables: LEAKED: None -> 'yes'",
    "test_folder": "working directory: ",
    "test_handler": "handlers of the root logger: gone: [], new: [<NullHandler",
    "test_level": "level of the root logger: ",
    "test_signal": "signal handlers: SIGTERM: ",
    "test_stream": "sys.stdout: ",
    "test_thread": "thread 'leaked' is still alive",
    "test_child": "child process",
    "test_file": "files of the project's folder: gone: [], new: ['leaked.txt']",
    "test_hook": "sys.excepthook: ",
    "test_warning": "UserWarning: a warning",
}


def test_each_leak_of_a_test_fails_it_and_names_what_leaked(working_dir: Path) -> None:
    tests = working_dir / "tests"
    tests.mkdir()
    shutil.copy(Path(__file__).parent / "conftest.py", tests)
    (tests / "test_leaking.py").write_text(LEAKING_TESTS, encoding="utf-8")

    done = run_python("-m", "pytest", "-q", "-rfE", "-p", "no:randomly", "-W", "error", "tests", cwd=working_dir)

    reports = done.stdout.split("short test summary info")[0]
    for test, message in EXPECTED.items():
        assert message in _section(reports, test), done.stdout
    assert "test_nothing" not in done.stdout
    assert "12 passed, 1 failed" not in done.stdout
    assert done.returncode == 1


def _section(reports: str, test: str) -> str:
    """Return the part of pytest's report that stands under the title of ``test``."""
    for section in reports.split("\n____"):
        if test in section.splitlines()[0]:
            return section
    return ""
