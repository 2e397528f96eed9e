"""Whether a process may be forked; each question is asked in a process of its own, since it cannot be undone."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.builders import run_python

ASK = "from pystematic.run import why_not_fork; print(why_not_fork())"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork is used on Linux only")


def why_not(before: str, tmp_path: Path) -> str:
    ended = run_python("-c", f"{before}\n{ASK}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("module", ["numpy", "torch", "torch.distributed"])
def test_a_process_that_has_only_imported_is_safe(module: str, tmp_path: Path) -> None:
    assert why_not(f"import {module}", tmp_path) == "None"


def test_small_tensors_leave_the_process_safe(tmp_path: Path) -> None:
    assert why_not("import torch; torch.ones(3) + 1", tmp_path) == "None"


def test_a_thread_of_the_program_is_named(tmp_path: Path) -> None:
    before = "import threading; threading.Thread(target=threading.Event().wait, name='feeder', daemon=True).start()"
    assert why_not(before, tmp_path) == "a thread of the program is running (feeder)"


def test_our_own_threads_do_not_count(tmp_path: Path) -> None:
    before = (
        "import threading; threading.Thread(target=threading.Event().wait, name='pystematic-x', daemon=True).start()"
    )
    assert why_not(before, tmp_path) == "None"


def test_a_parallel_computation_makes_a_fork_unsafe(tmp_path: Path) -> None:
    before = "import torch; torch.set_num_threads(2); torch.ones(3000, 3000).sin().sum()"
    assert re.fullmatch(r"a parallel computation has left \d+ threads? here", why_not(before, tmp_path))


def test_a_cuda_context_makes_a_fork_unsafe(tmp_path: Path) -> None:
    before = "import torch; torch.cuda.is_initialized = lambda: True"
    assert why_not(before, tmp_path) == "CUDA is initialised in this process"
