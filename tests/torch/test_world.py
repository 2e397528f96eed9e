"""Collectives of pystematic-torch 1.x, in one process and in a group of two real ones."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import pystematic.torch
from tests.builders import run_python, write_program

TWO_PROCESSES = """
    import os, sys, torch, torch.distributed as dist, torch.multiprocessing as mp
    import pystematic.torch as pt

    def main(rank, store):
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        assert pt.is_distributed() and pt.get_rank() == rank and pt.get_num_processes() == 2
        assert pt.is_master() == (rank == 0)
        assert pt.broadcast_from_master([rank + 5, 1]).tolist() == [5, 1]
        context = pt.Context()
        assert (context.rank, context.world_size, context.is_main) == (rank, 2, rank == 0)
        assert context.local_rank == rank
        with context.main_first(local=True):
            os.environ["LOCAL_RANK"] = str(5 + rank)
        assert context.local_rank == 5 + rank
        pt.distributed_barrier()
        dist.destroy_process_group()

    if __name__ == "__main__":
        mp.spawn(main, (sys.argv[1],), nprocs=2)
        print("fine")
"""


def test_one_process_is_alone() -> None:
    assert not pystematic.torch.is_distributed()
    assert pystematic.torch.is_master()
    assert pystematic.torch.get_rank() == 0
    assert pystematic.torch.get_num_processes() == 1
    assert pystematic.torch.Context().local_rank == 0
    pystematic.torch.distributed_barrier()


def test_alone_a_broadcast_gives_a_new_tensor() -> None:
    assert pystematic.torch.broadcast_from_master(3).item() == 3
    value = torch.ones(2)
    copied = pystematic.torch.broadcast_from_master(value)
    assert torch.equal(copied, value)
    assert copied is not value


def test_a_group_of_two(working_dir: Path) -> None:
    program = write_program(working_dir, TWO_PROCESSES)
    ended = run_python(program, working_dir / "store", env={"PYTHONWARNINGS": "ignore"})
    assert (ended.returncode, ended.stdout) == (0, "fine\n"), ended.stderr


def test_importing_pystematic_torch_does_not_import_torch() -> None:
    code = "import sys, pystematic.torch as t; t.Context().best = 1; t.get_rank(); assert 'torch' not in sys.modules"
    assert run_python("-c", code).returncode == 0
    assert "torch" in sys.modules


def test_every_public_name_is_there() -> None:
    for name in pystematic.torch.__all__:
        assert getattr(pystematic.torch, name) is not None
    assert pystematic.torch.Recorder is pystematic.Recorder
    # That of pystematic itself, which needs no torch, knows nothing of GPUs.
    assert pystematic.torch.run_parameter_sweep is not pystematic.run_parameter_sweep
