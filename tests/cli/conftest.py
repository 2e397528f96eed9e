"""Gives each test a program of its own, called ``python prog.py`` whatever runs the tests."""

from __future__ import annotations

import sys
import types

import pytest

from pystematic import _experiment


@pytest.fixture(autouse=True)
def _own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_experiment.program, "members", {})  # those of one test are not those of the next
    monkeypatch.setattr(sys, "argv", ["prog.py"])
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    # Failing programs replace it until they are printed. Not the hook that a library (Ray) has left in this process.
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setenv("COLUMNS", "100")
