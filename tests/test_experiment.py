"""Experiments run from code: what comes back, what is raised, one at a time; in threads, processes and notebooks."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic import _experiment, core
from pystematic.errors import DeclarationError, ExperimentError, UsageError
from tests.builders import run_python, write_program


@pytest.fixture(autouse=True)
def _own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the experiments of a test out of the program of the next one."""
    monkeypatch.setattr(_experiment.program, "members", {})
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)  # not the one that a library (Ray) has left


def define_train(act: Callable[[Any, Any], Any] = lambda parameters, context: None) -> pystematic.Experiment:
    """Define an experiment that does ``act``."""

    @pystematic.parameter("lr", type=float, default=0.5)
    @pystematic.parameter("steps", type=int, default=2)
    @pystematic.experiment(metric="loss:min")
    def train(parameters: Any, context: Any) -> Any:
        """Train a model."""
        return act(parameters, context)

    return train


# -- what comes back ---------------------------------------------------------------------------------------------


def test_run_returns_the_finished_run() -> None:
    def act(parameters: Any, context: Any) -> str:
        for step in range(parameters.steps):
            context.recorder.scalar("loss", parameters.lr / (step + 1), step=step)
        return "the result"

    run = define_train(act).run(lr=0.25)
    assert run.result == "the result"
    assert run.status == "completed"
    assert run.experiment == "train"
    assert run.path == Path("output/train", run.id).absolute()
    assert run.params["lr"] == 0.25
    assert run.sources["lr"] == "code"
    assert run.sources["steps"] == "default"
    assert run.metrics("loss").value.tolist() == [0.25, 0.125]
    assert run.document["metric"] == "loss:min"


def test_the_result_is_the_object_itself() -> None:
    result = object()
    assert define_train(lambda *_: result).run().result is result


@pytest.mark.parametrize(
    ("args", "more", "expected"),
    [
        ((), {}, (0.5, 2)),
        (({"lr": 1},), {}, (1.0, 2)),
        ((), {"lr": 1, "steps": 3}, (1.0, 3)),
        (({"lr": 1, "steps": 3},), {"steps": 4}, (1.0, 4)),
        ((None,), {"lr": "1e-1"}, (0.1, 2)),
    ],
)
def test_parameters_are_a_mapping_or_keywords(args: tuple[Any, ...], more: dict[str, Any], expected: object) -> None:
    train = define_train(lambda parameters, _: (parameters["lr"], parameters["steps"]))
    assert train.run(*args, **more).result == expected


def test_the_parameters_of_a_run_are_those_of_another() -> None:
    train = define_train(lambda parameters, _: parameters)
    first = train.run(lr=0.125)
    second = train.run(first.result, steps=5).result
    assert (second["lr"], second["steps"], second["random_seed"]) == (0.125, 5, first.result["random_seed"])


def test_calling_it_is_running_it() -> None:
    run = define_train(lambda parameters, _: parameters["lr"])({"lr": 2}, steps=1)
    assert (run.result, run.status) == (2.0, "completed")


@dataclasses.dataclass
class Config:
    lr: float
    steps: int = 2


def test_an_instance_of_the_class_is_taken_and_given() -> None:
    @pystematic.experiment
    def train(config: Config) -> Config:
        return config

    assert train.run(Config(0.25)).result == Config(0.25, 2)
    assert train.run(Config(0.25), steps=5).result == Config(0.25, 5)
    assert train.run(lr=1).result == Config(1.0, 2)


def test_the_main_function_takes_what_it_asks_for() -> None:
    @pystematic.experiment
    def nothing() -> int:
        return 0

    @pystematic.experiment
    def one(p: Any) -> int:
        return len([p["random_seed"]])

    @pystematic.experiment
    def two(p: Any, c: Any) -> int:
        return len([p["random_seed"], c.run_id])

    @pystematic.experiment
    def all_of_them(*args: Any) -> int:
        return len(args)

    @pystematic.experiment
    def keywords(p: Any, *, factor: int = 3) -> int:
        return factor

    @pystematic.experiment
    def keywords_only(*, factor: int = 4) -> int:
        return factor

    experiments = (nothing, one, two, all_of_them, keywords, keywords_only)
    assert [experiment.run().result for experiment in experiments] == [0, 1, 2, 2, 3, 4]
    assert keywords.run(factor=7).result == 7


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def train(): yield", "a generator"),
        ("async def train(): ...", "a coroutine"),
        ("async def train(): yield", "an asynchronous generator"),
    ],
)
def test_a_function_that_would_do_nothing_is_refused(working_dir: Path, text: str, kind: str) -> None:
    path = write_program(working_dir, f"import pystematic\n@pystematic.experiment\n{text}\n")
    with pytest.raises(DeclarationError) as caught:
        exec(compile(path.read_text(), str(path), "exec"), {"__name__": "prog"})
    assert str(caught.value) == (
        f"{path}:2: the main function of experiment 'train' is {kind}, which does nothing when it is called. "
        "Make it a plain function."
    )


def test_how_they_are_shown() -> None:
    @pystematic.group
    def tools() -> None: ...

    @tools.experiment
    def clean() -> None: ...

    assert repr(clean) == "<Experiment 'tools.clean'>"
    assert repr(tools) == "<Group 'tools': clean>"


def test_it_looks_like_its_function() -> None:
    train = define_train()
    assert train.__doc__ == "Train a model."
    assert train.__name__ == "train"  # type: ignore[attr-defined]
    assert train.__module__ == __name__
    assert inspect.unwrap(train) is train.main_function


@pystematic.experiment
def at_top_level() -> None: ...


def test_it_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(at_top_level)) is at_top_level
    assert copy.deepcopy(at_top_level) is at_top_level


# -- what is raised ----------------------------------------------------------------------------------------------


def raiser(error: BaseException) -> Callable[[Any, Any], Any]:
    def act(*_: Any) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (ValueError("no"), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (pystematic.RunStopped(signal.SIGTERM), "interrupted", 143),
        (SystemExit(3), "failed", 3),
        (SystemExit(0), "completed", 0),
        (UsageError("the program's own"), "failed", 1),
    ],
)
def test_what_the_main_function_raises_is_raised(error: BaseException, status: str, exit_code: int) -> None:
    with pytest.raises(type(error)) as caught:
        define_train(raiser(error)).run()
    assert caught.value is error
    (run,) = pystematic.runs("output")
    assert (run.status, run.document["exit_code"]) == (status, exit_code)


@pytest.mark.parametrize("end", [None, ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_a_run_after_another_works(end: BaseException | None) -> None:
    train = define_train()
    if end is not None:
        with pytest.raises(type(end)):
            define_train(raiser(end)).run()
    assert train.run().status == "completed"
    assert train.run(lr=2).status == "completed"


def test_all_problems_are_raised_at_once_and_nothing_is_left() -> None:
    with pytest.raises(UsageError) as caught:
        define_train().run(lrr=1, steps=2.5, lr=True)
    assert caught.value.problems == (
        "there is no parameter 'lrr' (code). Did you mean 'lr'?",
        "lr, from code: True is not a number.",
        "steps, from code: 2.5 is not a whole number.",
    )
    assert not Path("output").exists()


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        define_train().run(["lr"])
    assert str(caught.value) == "run() takes a mapping of parameters, got ['lr']."


def test_a_dry_run_is_for_the_command_line() -> None:
    train = define_train()
    with pytest.raises(UsageError) as caught:
        train.run(dry_run=True)
    assert str(caught.value) == "dry_run is for the command line; in code, Experiment.resolve() checks values."
    assert train.resolve({"lr": 1}).parameters["lr"] == 1.0
    assert not Path("output").exists()


def test_frames_of_ours_are_marked_for_those_who_hide_them() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        define_train(raiser(ValueError("no"))).run()
    visible = [entry for entry in caught.traceback if not entry.ishidden(caught)]
    assert {Path(entry.path).name for entry in visible} == {Path(__file__).name}


# -- one at a time -----------------------------------------------------------------------------------------------


def refusal(run_id: str) -> str:
    return (
        f"experiment 'inner' cannot start: the run {run_id} is active in this process, and there is room for one at a "
        "time. Start it in a process of its own: experiment.run_in_new_process(params)."
    )


def define_inner() -> pystematic.Experiment:
    @pystematic.experiment
    def inner() -> None: ...

    return inner


def test_a_run_inside_a_run_is_refused() -> None:
    inner = define_inner()
    told: list[str] = []

    def act(_: Any, context: Any) -> None:
        with pytest.raises(ExperimentError) as caught:
            inner.run()
        told.extend([str(caught.value), context.run_id])

    outer = define_train(act).run()
    assert outer.status == "completed"
    assert told == [refusal(outer.id), outer.id]
    assert not Path("output/inner").exists()


def test_a_run_in_another_thread_meanwhile_is_refused() -> None:
    inner = define_inner()
    told: list[str] = []

    def attempt() -> None:
        with pytest.raises(ExperimentError) as caught:
            inner.run()
        told.append(str(caught.value))

    def act(*_: Any) -> None:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    outer = define_train(act).run()
    assert told == [refusal(outer.id)]


def test_a_run_may_be_in_a_thread() -> None:
    train = define_train(lambda parameters, context: (context.run_id, threading.current_thread().name))
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(train.run(lr=2)), name="another")
    thread.start()
    thread.join()
    (run,) = runs
    assert run.result == (run.id, "another")
    assert run.status == "completed"


def test_a_run_may_be_in_a_forked_child_of_a_run() -> None:
    inner = define_inner()

    def act(*_: Any) -> int:
        child = os.fork()
        if not child:
            try:
                inner.run()
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert define_train(act).run().result == 0
    assert [run.experiment for run in pystematic.runs("output") if run.status == "completed"] == ["train", "inner"]


def test_a_process_of_its_own_is_what_the_refusal_says(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.parameter("code", type=int, default=0)
        @pystematic.experiment
        def inner(parameters):
            raise SystemExit(parameters.code)

        @pystematic.experiment
        def outer(parameters, context):
            processes = [inner.run_in_new_process({"code": code}) for code in (0, 3)]
            for process in processes:
                process.join()
            print([process.exitcode for process in processes])

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    done = run_python("prog.py", "outer")
    assert (done.stdout, done.stderr) == ("[0, 3]\n", "")
    outer = next(run for run in pystematic.runs("output") if run.experiment == "outer")
    assert [run.document["parent"] for run in pystematic.runs("output") if run.experiment == "inner"] == [outer.id] * 2


# -- the command line from code ----------------------------------------------------------------------------------


def test_cli_returns_the_run() -> None:
    run = define_train(lambda parameters, _: parameters["lr"]).cli(["--lr", "2"])
    assert run is not None
    assert run.result == 2.0


def test_cli_lets_an_exception_of_the_experiment_through() -> None:
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught:
        define_train(raiser(error)).cli([])
    assert caught.value is error


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (pystematic.RunStopped(signal.SIGTERM), 143)])
def test_cli_ends_by_a_signal_as_a_shell_expects(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    with pytest.raises(SystemExit) as ended:
        define_train(raiser(error)).cli([])
    (run,) = pystematic.runs("output")
    assert ended.value.code == code
    assert capsys.readouterr().err == f"Interrupted. The record is in output/train/{run.id}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pystematic.RunStopped(signal.SIGTERM)])
def test_without_exit_on_error_a_signal_is_raised(capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    with pytest.raises(type(error)):
        define_train(raiser(error)).cli([], exit_on_error=False)
    assert capsys.readouterr().err == ""


def test_cli_explains_a_refused_run(capsys: pytest.CaptureFixture[str]) -> None:
    train = define_train()
    Path("file").touch()
    with pytest.raises(SystemExit) as ended:
        train.cli(["--output-dir", "file"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("pystematic: the output folder 'file' cannot be written: ")
    with pytest.raises(core.Error, match="the output folder 'file' cannot be written"):
        train.cli(["--output-dir", "file"], exit_on_error=False)


# -- notebooks ---------------------------------------------------------------------------------------------------

DEFINITION = """\
import pystematic
@pystematic.parameter("lr", type=float, default=1.0)
@pystematic.experiment
def train(parameters, context):
    if parameters.lr > 5:
        raise ValueError("too much")
    context.recorder.scalar("lr", parameters.lr)
    return parameters.lr
"""


def run_cells(working_dir: Path, *cells: str) -> str:
    """Run cells in a real IPython, as a notebook does; return what they printed."""
    script = (
        f"import IPython\nfor cell in {list(cells)!r}:\n    IPython.get_ipython().run_cell(cell, store_history=True)"
    )
    done = run_python(
        *("-m", "IPython", "--colors=NoColor", "--HistoryManager.enabled=False", "--no-banner", "-c", script),
        env={"IPYTHONDIR": str(working_dir / "ipython")},
    )
    assert done.stderr == ""
    return done.stdout


def test_a_cell_may_run_twice_and_a_cell_again(working_dir: Path) -> None:
    cell = DEFINITION + "print(train.run().result, train(lr=2).result)"
    assert run_cells(working_dir, cell, cell) == "1.0 2.0\n1.0 2.0\n"
    assert [run.status for run in pystematic.runs("output")] == ["completed"] * 4
    assert {run.document["program"]["file"] for run in pystematic.runs("output")} == {None}


def test_a_notebook_goes_on_after_a_failure(working_dir: Path) -> None:
    out = run_cells(working_dir, DEFINITION, "train.run(lr=9)", "print(train.run(lr=2).result)")
    assert out.endswith("\nValueError: too much\n2.0\n")
    assert ".py" not in out
    assert [run.status for run in pystematic.runs("output")] == ["failed", "completed"]


def test_a_wrong_parameter_in_a_notebook_is_explained_in_the_last_line(working_dir: Path) -> None:
    out = run_cells(working_dir, DEFINITION, "train.run(lrr=9)")
    assert out.endswith("\nUsageError: there is no parameter 'lrr' (code). Did you mean 'lr'?\n")


def test_a_finished_run_shows_itself_in_a_notebook(working_dir: Path) -> None:
    out = run_cells(working_dir, DEFINITION, "train.run()")
    (run,) = pystematic.runs("output")
    assert out == f"Out[2]: <Run train {run.id} completed lr=1>\n"


# -- pystematic 1.x ----------------------------------------------------------------------------------------------


def test_the_names_of_core_are_there() -> None:
    assert core.Experiment is pystematic.Experiment
    assert core.ExperimentGroup is pystematic.Group
    assert issubclass(core.ExperimentError, core.Error)
    assert {core.Parameter.__name__, core.ParameterGroup.__name__} == {"Parameter", "ParameterGroup"}
    assert isinstance(core.app, core.PystematicApp)
    assert sorted(core.__all__) == sorted(name for name in vars(core) if name in core.__all__)


def test_a_program_of_1_x_runs(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import json
        import pystematic
        from pystematic import output_dir, params

        @pystematic.parameter(name="a", type=int, default=1, help="A.", envvar=False, allow_from_file=True)
        @pystematic.experiment
        def base(params):
            ...

        @pystematic.param_group("Group", "Help.", pystematic.parameter(name="b", is_flag=True))
        @pystematic.experiment(inherit_params=base, defaults={"a": 3})
        def train(params):
            print(params["a"], params["b"], pystematic.params["a"], pystematic.output_dir.name == output_dir.name)
            print(pystematic.is_subprocess(), pystematic.local_rank(), params["local_rank"], params["subprocess"])
            seeds = [pystematic.new_seed() for _ in range(2)]
            print(seeds[0] != seeds[1])

        @pystematic.group
        def tools():
            ...

        @tools.experiment
        def clean(params):
            print("cleaned")

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    done = run_python("prog.py", "train", "--b")
    assert (done.stdout, done.stderr) == ("3 True 3 True\nFalse 0 0 None\nTrue\n", "")
    assert run_python("prog.py", "tools", "clean").stdout == "cleaned\n"
