"""Programs as they were written for pystematic-torch 1.3: contexts, recorders, loaders, checkpoints, sweeps."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pystematic
import pystematic.torch
from pystematic.errors import ExperimentError
from tests.builders import run_python, write_program

# Of 1.3 but for the parameter `checkpoint`, which the plugin declared for every experiment.
PROGRAM = """
    import pathlib
    import pystematic
    import torch
    from pystematic.torch import Context, SmartDataLoader

    def make_data():
        inputs = torch.linspace(-1, 1, 10).reshape(10, 1)
        return torch.utils.data.TensorDataset(inputs, 2 * inputs)

    @pystematic.parameter(name="checkpoint", type=pathlib.Path)
    @pystematic.parameter(name="epochs", type=int, default=2)
    @pystematic.experiment
    def train(params):
        torch.manual_seed(params["random_seed"])

        ctx = Context()
        ctx.epoch = 0
        ctx.recorder = pystematic.torch.Recorder()
        ctx.model = torch.nn.Linear(1, 1)
        ctx.optimizer = torch.optim.SGD(ctx.model.parameters(), lr=0.1, momentum=0.9)
        ctx.best_loss = float("inf")
        ctx.loader = SmartDataLoader(
            dataset=make_data(), shuffle=True, random_seed=pystematic.new_seed(), batch_size=4, loading_bar=False
        )
        ctx.autotransform()

        while ctx.epoch < params["epochs"]:
            for inputs, targets in ctx.loader:
                loss = torch.nn.functional.mse_loss(ctx.model(inputs), targets)
                ctx.optimizer.zero_grad()
                loss.backward()
                ctx.optimizer.step()
                ctx.recorder.scalar("train/loss", loss)
                ctx.recorder.step()
            ctx.best_loss = min(ctx.best_loss, loss.item())
            ctx.epoch += 1
            pystematic.torch.save_checkpoint(ctx.state_dict(), id=ctx.epoch)
        print(ctx.epoch, ctx.recorder.count)

    if __name__ == "__main__":
        train.cli()
"""


def in_a_run(function: Callable[[], Any], **params: object) -> pystematic.Run:
    """Run ``function`` as the main function of an experiment of 1.x."""

    @pystematic.experiment
    def main(params):  # type: ignore[no-untyped-def]
        return function()

    return main.run({"random_seed": 1, "capture": "off", "device": "cpu", **params})


def lines_of(path: Path) -> list[tuple[str, int, float]]:
    """Return tag, step and value of each number of a series."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["tag"], line["step"], line["value"]) for line in lines]


# -- a whole program ---------------------------------------------------------------------------------------------


def test_a_program_trains_and_goes_on_from_its_checkpoint(working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    first = run_python(program, "--no-cuda")
    assert (first.returncode, first.stdout) == (0, "2 6\n"), first.stderr
    [path] = working_dir.glob("output/train/*")
    assert sorted(checkpoint.name for checkpoint in path.glob("*.pt")) == ["checkpoint-1.pt", "checkpoint-2.pt"]
    assert [step for _, step, _ in lines_of(path / "metrics.jsonl")] == list(range(6))

    second = run_python(program, "--no-cuda", "--epochs", "3", "--checkpoint", path / "checkpoint-2.pt")
    assert (second.returncode, second.stdout) == (0, "3 9\n"), second.stderr
    [other] = set(working_dir.glob("output/train/*")) - {path}
    assert [step for _, step, _ in lines_of(other / "metrics.jsonl")] == [6, 7, 8]


# -- the context -------------------------------------------------------------------------------------------------


def make_context() -> Any:
    """Make a context of one's own, typed as loosely as 1.x was."""
    context: Any = pystematic.torch.Context()
    context.epoch = 3
    context.model = torch.nn.Linear(2, 1)
    context.optimizer = torch.optim.Adam(context.model.parameters())
    context.nested = {"scale": 0.5, "models": [torch.nn.Linear(1, 1)]}
    return context


def test_the_epoch_of_a_context_counts_and_is_part_of_its_state() -> None:
    context = make_context()
    context.epoch += 1
    assert context.epoch == 4
    assert context.state_dict()["epoch"] == 4


def test_a_state_comes_back_into_another_context() -> None:
    one, other = make_context(), make_context()
    one.epoch, one.nested["scale"] = 7, 0.25
    other.load_state_dict(one.state_dict())
    assert (other.epoch, other.nested["scale"]) == (7, 0.25)
    assert torch.equal(other.model.weight, one.model.weight)
    assert torch.equal(other.nested["models"][0].weight, one.nested["models"][0].weight)


def test_an_entry_that_is_none_holds_nothing_to_load(tmp_path: Path) -> None:
    context = make_context()
    context.loader = pystematic.torch.SmartDataLoader([1, 2, 3], loading_bar=False)
    context.transform = str.upper
    weight = context.model.weight.detach().clone()
    # 1.x wrote None for loaders, functions and whatever else had no state.
    torch.save({**context.state_dict(), "model": None, "loader": None, "transform": None}, tmp_path / "old.pt")
    context.epoch = 0
    context.load_state_dict(pystematic.torch.load_checkpoint(tmp_path / "old.pt"))
    assert context.epoch == 3
    assert torch.equal(context.model.weight, weight)
    assert context.transform is str.upper
    assert list(context.loader) == [torch.tensor([1]), torch.tensor([2]), torch.tensor([3])]


def test_a_context_moves_to_the_cpu_and_returns_itself() -> None:
    context = make_context()
    assert context.to("cpu") is context
    assert context.cpu() is context
    assert context.model.weight.device.type == "cpu"


def test_no_cuda_keeps_the_context_on_the_cpu() -> None:
    run = in_a_run(lambda: make_context().autotransform().model.weight.device.type, device="auto", cuda=False)
    assert run.result == "cpu"


# -- the recorder ------------------------------------------------------------------------------------------------


def test_a_recorder_without_arguments_records_into_the_run() -> None:
    def main() -> None:
        recorder = pystematic.torch.Recorder()
        for value in (0.5, torch.tensor(0.25)):
            recorder.scalar("loss", value)
            recorder.step()
        recorder.count = 10
        recorder.scalar("loss", 0.125)

    run = in_a_run(main)
    assert lines_of(run.path / "metrics.jsonl") == [("loss", 0, 0.5), ("loss", 1, 0.25), ("loss", 10, 0.125)]


def test_two_recorders_of_a_run_count_for_themselves_and_lose_nothing() -> None:
    def main() -> None:
        train, val = pystematic.torch.Recorder(), pystematic.torch.Recorder()
        for _ in range(3):
            train.scalar("train", train.count)
            train.step()
        val.scalar("val", val.count)
        train.close()
        val.scalar("val", 7)
        val.step()
        train.scalar("train", train.count)

    run = in_a_run(main)
    series = {tag: run.metrics(tag).value.tolist() for tag in ("train", "val")}
    assert series == {"train": [0, 1, 2, 3], "val": [0, 7]}
    assert run.summary["train"]["count"] == 4
    assert run.summary["val"]["last"] == 7


def test_recorders_of_a_run_share_the_weight_of_the_step_and_the_backends(tmp_path: Path) -> None:
    def main() -> float | None:
        first, second = pystematic.torch.Recorder(), pystematic.torch.Recorder()
        second.add_backend("csv")
        first.weight = 3
        second.scalar("loss", 0.5)
        return second.weight

    run = in_a_run(main)
    [line] = (run.path / "metrics.jsonl").read_text().splitlines()
    assert (run.result, json.loads(line)["weight"]) == (3, 3)
    assert (run.path / "scalars.csv").exists()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_recorders_of_a_run_in_a_file_of_its_own() -> None:
    def main() -> None:
        recorders = [pystematic.torch.Recorder() for _ in range(2)]

        def record() -> None:
            for value, recorder in enumerate(recorders):
                recorder.scalar("child", value)

        recorders[0].scalar("parent", 1)
        process = multiprocessing.get_context("fork").Process(target=record)
        process.start()
        process.join()
        recorders[1].scalar("parent", 2)

    run = in_a_run(main)
    assert lines_of_tag(run.path / "metrics.jsonl", "parent") == [1, 2]
    [of_child] = run.path.glob("metrics.pid-*.jsonl")
    assert lines_of_tag(of_child, "child") == [0, 1]


def test_a_recorder_of_a_run_can_be_silenced_for_itself() -> None:
    def main() -> None:
        loud, silent = pystematic.torch.Recorder(), pystematic.torch.Recorder()
        silent.silence()
        silent.scalar("silent", 1)
        loud.scalar("loud", 1)

    assert lines_of(in_a_run(main).path / "metrics.jsonl") == [("loud", 0, 1)]


def test_what_a_recorder_of_a_run_gets_after_the_run_is_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    recorder = in_a_run(pystematic.torch.Recorder).result
    for value in (1, 2):
        recorder.scalar("late", value)
    assert caplog.messages == ["The recorder is closed; what is recorded now is dropped."]


def test_outside_of_a_run_a_recorder_needs_a_folder() -> None:
    with pytest.raises(ExperimentError) as caught:
        pystematic.torch.Recorder()
    assert str(caught.value) == (
        "Recorder() records into the run that is active, and none is. Give it a folder: Recorder('output/mine')."
    )


def test_a_recorder_takes_what_to_write_as_in_1_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", screen)
    recorder = pystematic.torch.Recorder(tmp_path / "mine", False, True, console=True)
    recorder.scalar("loss", 0.5)
    recorder.step()
    recorder.params({"depth": 3})
    recorder.close()
    assert screen.getvalue() == "step 0  loss 0.5\n"
    with (tmp_path / "mine" / "scalars.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["tag"], row["step"], float(row["value"])) == ("loss", "0", 0.5)
    assert lines_of_tag(tmp_path / "mine" / "metrics.jsonl", "loss") == [0.5]


def lines_of_tag(path: Path, tag: str) -> list[float]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["value"] for line in lines if line.get("tag") == tag]


def test_recorders_of_a_run_that_want_the_same_file_write_it_once() -> None:
    def main() -> None:
        first, second = (pystematic.torch.Recorder(file=True) for _ in range(2))
        first.scalar("a", 1)
        second.scalar("b", 2)

    path = in_a_run(main).path / "scalars.csv"
    with path.open(newline="") as file:
        assert sorted((row["tag"], row["value"]) for row in csv.DictReader(file)) == [("a", "1"), ("b", "2")]


def test_the_step_of_a_recorder_goes_into_a_checkpoint_and_comes_back() -> None:
    def main() -> tuple[dict[str, int], int]:
        recorder = pystematic.torch.Recorder()
        recorder.step()
        state = recorder.state_dict()
        other = pystematic.torch.Recorder()
        other.load_state_dict(state)
        return state, other.count

    assert in_a_run(main).result == ({"count": 1}, 1)


def test_subprocesses_record_into_files_of_their_own(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import pystematic, pystematic.torch

        @pystematic.experiment
        def train(params):
            if not pystematic.is_subprocess():
                pystematic.launch_subprocess().join()
            pystematic.torch.Recorder().scalar("rank", pystematic.local_rank())

        if __name__ == "__main__":
            train.cli()
        """,
    )
    ended = run_python(program)
    assert ended.returncode == 0, ended.stderr
    [path] = working_dir.glob("output/train/*")
    assert lines_of_tag(path / "metrics.jsonl", "rank") == [0]
    assert lines_of_tag(path / "metrics.rank-1.jsonl", "rank") == [1]


# -- data, checkpoints, devices ----------------------------------------------------------------------------------


def test_a_smart_data_loader_shuffles_anew_each_epoch_and_the_same_for_a_seed() -> None:
    def make(seed: int) -> Any:
        return pystematic.torch.SmartDataLoader(
            list(range(20)), shuffle=True, random_seed=seed, batch_size=8, loading_bar=False, move_output=True
        )

    one, same, other = (make(seed) for seed in (1, 1, 2))
    first, second = ([torch.cat(list(loader)).tolist() for _ in range(2)] for loader in (one, same))
    assert first == second
    assert first[0] != first[1]
    assert sorted(first[0]) == sorted(first[1]) == list(range(20))
    assert torch.cat(list(other)).tolist() != first[0]
    assert len(one) == 3
    assert one.to("cpu") is one


def test_a_smart_data_loader_ignores_shuffle_where_a_sampler_decides() -> None:
    loader = pystematic.torch.SmartDataLoader([5, 6, 7], True, None, [2, 0], loading_bar=False, num_workers=0)
    assert torch.cat(list(loader)).tolist() == [7, 5]


@pytest.mark.parametrize(("id", "name"), [(3, "checkpoint-3.pt"), ("best", "checkpoint-best.pt")])
def test_a_checkpoint_lies_in_the_directory_of_the_run(id: object, name: str) -> None:
    run = in_a_run(lambda: pystematic.torch.save_checkpoint({"epoch": 2, "weight": torch.ones(2)}, id))
    state = pystematic.torch.load_checkpoint(str(run.path / name))
    assert state["epoch"] == 2
    assert torch.equal(state["weight"], torch.ones(2))


def test_the_arguments_of_move_to_device_are_the_device_and_what_moves() -> None:
    tensor = torch.ones(2)
    moved = pystematic.torch.move_to_device("cpu", {"a": [tensor, "text"], "b": 3})
    assert torch.equal(moved["a"][0], tensor)
    assert (moved["a"][1], moved["b"]) == ("text", 3)
    one, other = pystematic.torch.move_to_device(torch.device("cpu"), tensor, 5)
    assert torch.equal(one, tensor)
    assert other == 5


# -- sweeps ------------------------------------------------------------------------------------------------------

SWEEP = """
    import os
    import pystematic
    import pystematic.torch

    @pystematic.parameter(name="depth", type=int, default=1)
    @pystematic.experiment
    def train(params):
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        pystematic.output_dir.joinpath("done.txt").write_text(f"{params['depth']} {gpus}")

    if __name__ == "__main__":
        pystematic.torch.run_parameter_sweep(train, pystematic.param_matrix(depth=[1, 2]), ARGUMENTS)
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("2", ["1 all", "2 all"]),
        ("max_num_processes=1, num_gpus_per_process=None", ["1 all", "2 all"]),
        ("max_num_processes=2, num_gpus_per_process=0", ["1 ", "2 "]),
    ],
)
def test_a_parameter_sweep_runs_every_setting(
    arguments: str, expected: list[str], working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = write_program(working_dir, SWEEP.replace("ARGUMENTS", arguments))
    ended = run_python(program)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.read_text() for path in working_dir.glob("output/train/*/done.txt")) == expected


def test_each_process_of_a_sweep_sees_gpus_of_its_own(working_dir: Path) -> None:
    # Nothing computes on them, so that two that torch only counts are enough.
    text = SWEEP.replace("depth=[1, 2]", "depth=[1, 2, 3]").replace("ARGUMENTS", "2, num_gpus_per_process=1")
    text = text.replace('"__main__":', '"__main__":\n        import torch; torch.cuda.device_count = lambda: 2')
    ended = run_python(write_program(working_dir, text), env={"CUDA_VISIBLE_DEVICES": "4,6"})
    assert ended.returncode == 0, ended.stderr
    found = dict(path.read_text().split() for path in working_dir.glob("output/train/*/done.txt"))
    assert found.keys() == {"1", "2", "3"}
    assert {found["1"], found["2"]} == {"4", "6"}
    assert found["3"] in ("4", "6")


def test_more_gpus_than_there_are_is_an_error(working_dir: Path) -> None:
    ended = run_python(write_program(working_dir, SWEEP.replace("ARGUMENTS", "1, 99")))
    assert ended.returncode == 1
    count = torch.cuda.device_count()
    assert ended.stderr.splitlines()[-1] == (
        f"pystematic.errors.ExperimentError: num_gpus_per_process=99: torch sees {count} GPUs here. "
        "Ask for fewer, or leave it out."
    )
    assert not (working_dir / "output").exists()
