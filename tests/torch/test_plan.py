"""How a run is started: from its parameters and the launcher's variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pystematic.errors import UsageError
from pystematic.resolve import Parameters
from pystematic.torch import _plan
from pystematic.torch._plan import Plan, describe, make_plan

FIVE = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
TORCHRUN = {**FIVE, "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "1"}
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "n[3-4]",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


def make_parameters(source: str = "command line", **given: object) -> Parameters:
    values = {"distributed": None, "nproc_per_node": "auto", "nnodes": 1, "node_rank": 0, "device": "auto", **given}
    return Parameters(values, {**dict.fromkeys(values, "default"), **dict.fromkeys(given, source)})


def plan_of(environ: dict[str, str] | None = None, source: str = "command line", **values: object) -> Plan:
    return make_plan(make_parameters(source, **values), environ or {})


def message_of(environ: dict[str, str] | None = None, source: str = "command line", **values: object) -> str:
    with pytest.raises(UsageError) as caught:
        plan_of(environ, source, **values)
    return str(caught.value)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    def see(count: int) -> None:
        monkeypatch.setattr(_plan, "_visible_gpus", lambda: count)

    see(0)
    return see


def test_a_run_is_one_process_by_default() -> None:
    assert plan_of().kind == "single"


def test_no_distributed_is_one_process_even_under_torchrun() -> None:
    assert plan_of(TORCHRUN, distributed=False).kind == "single"


def test_the_complete_set_of_torchrun_is_joined_without_an_option() -> None:
    plan = plan_of(TORCHRUN)
    assert plan == Plan(
        "join",
        nproc=2,
        nnodes=2,
        node_rank=0,
        rank=1,
        local_rank=1,
        world_size=4,
        local_world_size=2,
        address="node0",
        port=29500,
        launcher="torchrun",
        restarts=1,
    )


@pytest.mark.parametrize(("environ", "node"), [({}, 1), ({"GROUP_RANK": "0"}, 0)])
def test_the_machine_of_a_joined_process_is_known(environ: dict[str, str], node: int) -> None:
    assert plan_of({**TORCHRUN, "RANK": "3", **environ}).node_rank == node


def test_one_line_says_what_was_joined() -> None:
    plan = plan_of(TORCHRUN)
    assert describe(plan) == "Joined torchrun: rank 1 of 4 on 2 machines, at node0:29500."


@pytest.mark.parametrize("missing", sorted(FIVE))
def test_an_incomplete_set_of_torchrun_changes_nothing(missing: str) -> None:
    environ = {name: value for name, value in TORCHRUN.items() if name != missing}
    assert plan_of(environ).kind == "single"


def test_the_first_five_change_nothing_by_themselves() -> None:
    assert plan_of(FIVE).kind == "single"


def test_distributed_joins_a_launcher_that_gives_the_first_five() -> None:
    plan = plan_of(FIVE, distributed=True)
    assert (plan.kind, plan.rank, plan.world_size, plan.launcher) == ("join", 1, 4, "a launcher")


def test_a_launcher_without_local_sizes_may_be_told_the_number_of_machines() -> None:
    plan = plan_of(FIVE, distributed=True, nnodes=2)
    assert (plan.nnodes, plan.local_world_size) == (2, 2)


@pytest.mark.parametrize(
    "environ", [{name: value} for name, value in {**FIVE, **SLURM, "SLURM_NTASKS": "4"}.items()], ids=lambda e: str(*e)
)
def test_a_lone_variable_of_a_launcher_changes_nothing(environ: dict[str, str]) -> None:
    assert plan_of(environ).kind == "single"


def test_a_lone_rank_does_not_change_what_distributed_does(gpus: Any) -> None:
    assert plan_of({"RANK": "3"}, distributed=True, nproc_per_node=2).kind == "launch"


def test_a_variable_that_is_no_number_is_named() -> None:
    message = message_of({**TORCHRUN, "WORLD_SIZE": "four"})
    assert message == "the environment variable WORLD_SIZE is 'four', which is no whole number."


def test_a_size_that_differs_from_the_launchers_is_an_error() -> None:
    message = message_of(TORCHRUN, nproc_per_node=3, nnodes=5)
    assert message.splitlines() == [
        "--nproc-per-node 3, but torchrun has started 2. Leave it out: the launcher decides.",
        "--nnodes 5, but torchrun has started 2. Leave it out: the launcher decides.",
    ]


def test_the_launchers_own_sizes_may_be_repeated() -> None:
    assert plan_of(TORCHRUN, nproc_per_node=2, nnodes=2).kind == "join"


def test_a_size_of_the_environment_gives_way_to_the_launchers() -> None:
    assert plan_of(TORCHRUN, source="environment NPROC_PER_NODE", nproc_per_node=3).local_world_size == 2


def test_a_slurm_step_of_several_tasks_is_refused_without_a_word_on_distributed() -> None:
    assert message_of(SLURM) == (
        "this process is task 3 of 4 of a Slurm step, and would do the same as all others. Say --distributed to have "
        "them work on one run together, or --no-distributed for 4 runs."
    )


def test_distributed_joins_a_slurm_step() -> None:
    plan = plan_of(SLURM, distributed=True)
    assert (plan.rank, plan.local_rank, plan.world_size, plan.local_world_size) == (3, 1, 4, 2)
    assert (plan.nnodes, plan.node_rank, plan.address, plan.launcher) == (2, 1, "n3", "Slurm")


def test_all_tasks_of_a_slurm_step_compute_the_same_port() -> None:
    ports = {plan_of({**SLURM, "SLURM_PROCID": str(task)}, distributed=True).port for task in range(4)}
    assert len(ports) == 1
    assert 20000 <= ports.pop() < 40000  # type: ignore[operator]


def test_no_distributed_makes_a_run_of_each_slurm_task() -> None:
    assert plan_of(SLURM, distributed=False).kind == "single"


@pytest.mark.parametrize("change", [{"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_STEP_ID": "batch"}])
def test_a_step_of_one_task_and_a_batch_script_are_one_process(change: dict[str, str]) -> None:
    assert plan_of({**SLURM, **change}).kind == "single"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("n[3-5,9],m1", "n3"), ("gpu[007-009]-ib", "gpu007-ib"), ("m1,n[1-2]", "m1")],
)
def test_the_first_host_of_slurms_lists_is_found(nodes: str, first: str) -> None:
    assert plan_of({**SLURM, "SLURM_STEP_NODELIST": nodes}, distributed=True).address == first


def test_processes_are_started_here_when_no_launcher_is_there(gpus: Any) -> None:
    plan = plan_of(distributed=True, nproc_per_node=3)
    assert (plan.kind, plan.nproc, plan.world_size) == ("launch", 3, 3)


def test_auto_without_gpus_asks_for_a_number(gpus: Any) -> None:
    message = message_of(distributed=True)
    assert message == "--nproc-per-node auto means one process for each GPU, and none is used here. Say a number."


def test_auto_is_the_number_of_gpus(gpus: Any) -> None:
    gpus(4)
    assert plan_of(distributed=True).nproc == 4


def test_more_ranks_than_gpus_name_the_way_out(gpus: Any) -> None:
    gpus(1)
    assert message_of(distributed=True, nproc_per_node=2) == (
        "--nproc-per-node 2, but torch sees 1 GPU here. Take at most 1, or compute on the CPU: --device cpu."
    )


@pytest.mark.parametrize("on_cpu", [{"device": "cpu"}, {"cuda": False}])
def test_more_ranks_than_gpus_are_right_on_the_cpu(gpus: Any, on_cpu: dict[str, Any]) -> None:
    gpus(1)
    assert plan_of(distributed=True, nproc_per_node=2, **on_cpu).nproc == 2


def test_at_least_one_process_is_needed(gpus: Any) -> None:
    message = message_of(distributed=True, nproc_per_node=0)
    assert message == "--nproc-per-node 0: at least one process is needed."


def test_several_machines_need_an_address(gpus: Any) -> None:
    assert message_of(distributed=True, nproc_per_node=1, nnodes=2, master_addr="a") == (
        "--nnodes 2: the machines find each other by an address. Give --master-addr (a name or address of the machine "
        "with --node-rank 0) and --master-port (any free port there), the same on all of them."
    )


def test_a_machine_that_is_none_of_them_is_refused(gpus: Any) -> None:
    values: dict[str, Any] = {"nnodes": 2, "node_rank": 2, "master_addr": "a", "master_port": 1}
    message = message_of(distributed=True, nproc_per_node=1, **values)
    assert message == "--node-rank 2 is none of the 2 machines; it is 0 to 1."


def test_several_machines_use_the_elastic_agent(gpus: Any) -> None:
    values: dict[str, Any] = {"nnodes": 2, "node_rank": 1, "master_addr": "a", "master_port": 1}
    plan = plan_of(distributed=True, nproc_per_node=3, **values)
    assert (plan.kind, plan.world_size, plan.node_rank, plan.address, plan.port) == ("elastic", 6, 1, "a", 1)


def test_restarts_use_the_elastic_agent(gpus: Any) -> None:
    assert plan_of(distributed=True, nproc_per_node=2, max_restarts=1).kind == "elastic"


def test_this_module_does_not_import_torch() -> None:
    text = Path(_plan.__file__).read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) torch\b", text, re.MULTILINE)
