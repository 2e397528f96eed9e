"""A pytest plugin for the tests of experiments: ``pytest_plugins = ["pystematic.testing.plugin"]`` in a conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ._ranks import run_on_ranks as _run_on_ranks


@pytest.fixture
def run_on_ranks() -> Callable[..., list[Any]]:
    """Call a function in several processes that form a process group, and get all results."""
    return _run_on_ranks


@pytest.fixture
def output_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of the test's own, in which its runs are recorded."""
    folder = str(tmp_path_factory.mktemp("output"))
    monkeypatch.setenv("PYSTEMATIC_OUTPUT_DIR", folder)
    return folder
