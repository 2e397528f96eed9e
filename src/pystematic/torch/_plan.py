"""How many processes a run has, and who starts them: from parameters and the environment to a `Plan`.

Imports no torch: the process that only starts others does without, where it can.
"""

from __future__ import annotations

import os
import sys

from pystematic._record import record
from pystematic.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_TORCHRUN_ID = "TORCHELASTIC_RUN_ID"
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"


@record
class Plan:
    """What is to be done: ``kind`` is single, launch (on this machine), elastic (torch's agent) or join (a launcher).

    ``nproc`` is the number of processes that this machine starts. The ranks, sizes and address are those of a
    launcher that is joined, ``launcher`` is its name; ``restarts`` counts its earlier tries.
    """

    kind: str
    nproc: int = 1
    nnodes: int = 1
    node_rank: int = 0
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    address: str | None = None
    port: int | None = None
    launcher: str = ""
    restarts: int = 0


SINGLE = Plan("single")


def make_plan(parameters: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Plan:
    """Decide how the run of these parameters is started.

    Raises:
        UsageError: sizes that contradict each other, or that this machine cannot give.
    """
    environ = os.environ if environ is None else environ
    wanted = parameters.get("distributed")
    if wanted is False:
        return SINGLE
    joined = _joined(environ, parameters, wanted=bool(wanted))
    if joined is not None:
        _check_sizes(parameters, joined)
        return joined
    if not wanted:
        return SINGLE
    nnodes = int(parameters.get("nnodes") or 1)
    nproc = _local_count(parameters)
    restarts = int(parameters.get("max_restarts") or 0)
    if nnodes == 1 and not restarts:
        return Plan("launch", nproc=nproc, world_size=nproc, local_world_size=nproc)
    address, port = parameters.get("master_addr"), parameters.get("master_port")
    if nnodes > 1 and (address is None or port is None):
        raise UsageError(
            f"--nnodes {nnodes}: the machines find each other by an address. Give --master-addr (a name or address of "
            "the machine with --node-rank 0) and --master-port (any free port there), the same on all of them."
        )
    node_rank = int(parameters.get("node_rank") or 0)
    if not 0 <= node_rank < nnodes:
        raise UsageError(f"--node-rank {node_rank} is none of the {nnodes} machines; it is 0 to {nnodes - 1}.")
    return Plan(
        "elastic",
        nproc=nproc,
        nnodes=nnodes,
        node_rank=node_rank,
        world_size=nproc * nnodes,
        local_world_size=nproc,
        address=address,
        port=port,
    )


def _joined(environ: Mapping[str, str], parameters: Mapping[str, Any], *, wanted: bool) -> Plan | None:
    """Return the plan of the launcher that has started this process, if one has said so completely."""
    if all(environ.get(name) for name in _TORCHRUN) and (wanted or environ.get(_TORCHRUN_ID)):
        numbers = {name: _number(environ, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")}
        world_size = numbers["WORLD_SIZE"]
        local = _local_world_size(environ, parameters, world_size)
        return Plan(
            "join",
            nproc=local,
            nnodes=max(1, world_size // max(1, local)),
            node_rank=_node_rank(environ, numbers["RANK"], local),
            rank=numbers["RANK"],
            local_rank=numbers["LOCAL_RANK"],
            world_size=world_size,
            local_world_size=local,
            address=environ["MASTER_ADDR"],
            port=numbers["MASTER_PORT"],
            launcher="torchrun" if environ.get(_TORCHRUN_ID) else "a launcher",
            restarts=_number(environ, _RESTARTS) if environ.get(_RESTARTS) else 0,
        )
    return _joined_slurm(environ, wanted=wanted)


def _local_world_size(environ: Mapping[str, str], parameters: Mapping[str, Any], world_size: int) -> int:
    """Return how many of the processes run here; a launcher that does not say it may be told by the parameters."""
    if environ.get("LOCAL_WORLD_SIZE"):
        return _number(environ, "LOCAL_WORLD_SIZE")
    nnodes = int(parameters.get("nnodes") or 1)
    return world_size // nnodes if nnodes > 1 and world_size % nnodes == 0 else world_size


def _node_rank(environ: Mapping[str, str], rank: int, local_world_size: int) -> int:
    """Return which of the machines this one is; only torchrun says it."""
    return _number(environ, "GROUP_RANK") if environ.get("GROUP_RANK") else rank // max(1, local_world_size)


def _joined_slurm(environ: Mapping[str, str], *, wanted: bool) -> Plan | None:
    # A step numbers its tasks; the batch script itself has SLURM_NTASKS, and no step of its own that srun numbered.
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if not all(environ.get(name) for name in names) or not environ["SLURM_STEP_ID"].isdecimal():
        return None
    world_size = _number(environ, "SLURM_STEP_NUM_TASKS")
    if world_size < 2:
        return None
    if not wanted:
        raise UsageError(
            f"this process is task {environ['SLURM_PROCID']} of {world_size} of a Slurm step, and would do the same as "
            "all others. Say --distributed to have them work on one run together, or --no-distributed for "
            f"{world_size} runs."
        )
    local = int(environ.get("SLURM_STEP_TASKS_PER_NODE", "1").partition("(")[0].partition(",")[0] or 1)
    job = _number(environ, "SLURM_JOB_ID")
    return Plan(
        "join",
        nproc=local,
        nnodes=int(environ.get("SLURM_STEP_NUM_NODES") or 1),
        node_rank=int(environ.get("SLURM_NODEID") or 0),
        rank=_number(environ, "SLURM_PROCID"),
        local_rank=_number(environ, "SLURM_LOCALID"),
        world_size=world_size,
        local_world_size=local,
        address=environ.get("MASTER_ADDR") or _first_host(environ.get("SLURM_STEP_NODELIST", "")),
        # The same in all tasks of a step, another one for most other steps of the machine.
        port=(_number(environ, "MASTER_PORT") if environ.get("MASTER_PORT") else 0)
        or 20000 + (job * 37 + _number(environ, "SLURM_STEP_ID")) % 20000,
        launcher="Slurm",
        restarts=int(environ.get("SLURM_RESTART_COUNT") or 0),
    )


def _first_host(nodes: str) -> str:
    """Return the first name of a list as Slurm writes it: ``n[3-5,9],m1`` begins with ``n3``."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return name.partition(",")[0] or "127.0.0.1"
    first = rest.partition("]")[0].partition(",")[0].partition("-")[0]
    return f"{name}{first}{rest.partition(']')[2].partition(',')[0]}"


def _number(environ: Mapping[str, str], name: str) -> int:
    try:
        return int(environ[name])
    except ValueError:
        raise UsageError(f"the environment variable {name} is {environ[name]!r}, which is no whole number.") from None


def _check_sizes(parameters: Mapping[str, Any], joined: Plan) -> None:
    """Refuse sizes of the command line that differ from those of the launcher."""
    source_of = getattr(parameters, "source_of", lambda name: "code")
    problems = []
    for name, actual in (("nproc_per_node", joined.local_world_size), ("nnodes", joined.nnodes)):
        given = parameters.get(name)
        if given in (None, "auto") or source_of(name) not in ("command line", "code") or int(given) == actual:
            continue
        problems.append(
            f"--{name.replace('_', '-')} {given}, but {joined.launcher} has started {actual}. Leave it out: the "
            "launcher decides."
        )
    if problems:
        raise UsageError(problems)


def _local_count(parameters: Mapping[str, Any]) -> int:
    wanted = parameters.get("nproc_per_node")
    on_cpu = parameters.get("device") == "cpu" or parameters.get("cuda") is False
    visible = 0 if on_cpu else _visible_gpus()
    if wanted in (None, "auto"):
        if not visible:
            raise UsageError(
                "--nproc-per-node auto means one process for each GPU, and none is used here. Say a number."
            )
        return visible
    count = int(str(wanted))
    if count < 1:
        raise UsageError(f"--nproc-per-node {count}: at least one process is needed.")
    if visible and count > visible:
        raise UsageError(
            f"--nproc-per-node {count}, but torch sees {visible} GPU{'s' * (visible > 1)} here. Take at most "
            f"{visible}, or compute on the CPU: --device cpu."
        )
    return count


def _visible_gpus() -> int:
    """Return how many GPUs torch would use, without a CUDA context, which no child could use after a fork."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        present = len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        present = 0
    torch = sys.modules.get("torch")
    if torch is not None and not torch.backends.cuda.is_built():
        return 0
    if not present and torch is not None:
        return int(torch.cuda.device_count())  # NVML counts without a context
    if listed is None:
        return present
    chosen = [name for name in listed.split(",") if name.strip()]
    return min(present, len(chosen)) if "-1" not in chosen else 0


def describe(plan: Plan) -> str:
    """Return the one line that is printed about a launcher that was joined."""
    machines = f" on {plan.nnodes} machines" if plan.nnodes > 1 else ""
    return f"Joined {plan.launcher}: rank {plan.rank} of {plan.world_size}{machines}, at {plan.address}:{plan.port}."
