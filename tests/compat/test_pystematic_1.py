"""Programs as they were written for pystematic 1.7: declared, run, asked about and started as they did it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic import core
from pystematic import output_dir as imported_output_dir
from pystematic import params as imported_params
from tests.builders import run_python, write_program

DEFAULT_PARAMETERS = {"output_dir", "debug", "params_file", "random_seed", "subprocess", "local_rank"}


def names_of(thing: Any) -> list[str]:
    """Return the names of the parameters that it declares or inherits, without those that every experiment has."""
    return sorted(parameter.name for parameter in thing.get_parameters() if not parameter.framework)


def values(**params: object) -> dict[str, object]:
    """Return parameters for a quick run."""
    return {"random_seed": 1, **params}


# -- declarations ------------------------------------------------------------------------------------------------


def test_a_parameter_takes_the_arguments_of_1_7() -> None:
    @pystematic.parameter(
        name="depth",
        type=int,
        default=lambda: 3,
        required=False,
        allowed_values=None,
        is_flag=False,
        multiple=False,
        allow_from_file=True,
        envvar=None,
        help="How deep.",
        default_help="three",
        hidden=False,
    )
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return params["depth"]

    assert train.run(values()).result == 3


@pytest.mark.parametrize("envvar", [None, False])
def test_an_envvar_of_false_means_none(envvar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @pystematic.parameter(name="depth", type=int, default=3, envvar=envvar)
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return params["depth"]

    monkeypatch.setenv("DEPTH", "4")
    assert train.run(values()).result == 3


@pytest.mark.parametrize(
    ("declared", "argv", "expected"),
    [
        ({"type": int, "multiple": True}, ["--it", "1", "2", "3"], [1, 2, 3]),
        ({"is_flag": True}, ["--it"], True),
        ({"type": bool}, ["--it"], True),
        ({"type": bool, "default": True, "is_flag": True}, ["--no-it"], False),
        ({"allowed_values": ["a", "b"]}, ["--it", "b"], "b"),
        ({"allowed_values": [1, 2], "type": int}, ["--it=2"], 2),
        ({"type": Path}, ["--it", "a/b"], Path("a/b")),
        ({"type": lambda text: text.split("+")}, ["--it", "a+b"], ["a", "b"]),
        ({}, ["--it", "text"], "text"),
        ({"required": True, "default": "d"}, [], "d"),
    ],
)
def test_values_from_the_command_line_have_their_types(
    declared: dict[str, Any], argv: list[str], expected: object
) -> None:
    @pystematic.parameter(name="it", **declared)
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return params["it"]

    run = train.cli([*argv, "--random-seed", "1"])
    assert run is not None
    assert run.result == expected


def test_flags_and_lists_that_nobody_gives_are_false_and_none_or_the_default() -> None:
    @pystematic.parameter(name="flag", is_flag=True)
    @pystematic.parameter(name="several", type=int, multiple=True, default=[1, 2])
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return params["flag"], params["several"]

    assert train.run(values()).result == (False, [1, 2])


def test_the_name_of_an_experiment_is_that_of_its_function_with_dashes() -> None:
    @pystematic.experiment
    def Train_Fast(params):  # type: ignore[no-untyped-def]  # noqa: N802
        pass

    assert Train_Fast.name == "train-fast"
    assert pystematic.experiment(name="other_name")(lambda params: None).name == "other_name"


def test_defaults_of_an_experiment_win_over_those_of_the_declaration() -> None:
    @pystematic.parameter(name="depth", type=int, default=3)
    @pystematic.parameter(name="width", type=int)
    @pystematic.experiment(defaults={"depth": 5, "width": 7})
    def train(params):  # type: ignore[no-untyped-def]
        return params["depth"], params["width"]

    assert train.run(values()).result == (5, 7)
    assert train.run(values(depth=1)).result == (1, 7)


def test_parameters_of_a_group_of_parameters_are_as_any_other() -> None:
    @pystematic.param_group(
        "Optimizer",
        "How it is trained.",
        pystematic.parameter(name="rate", type=float, default=0.5),
        pystematic.parameter(name="momentum", type=float, default=0.9),
    )
    @pystematic.param_group("Model", pystematic.parameter(name="depth", type=int, default=3))
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return params["rate"], params["momentum"], params["depth"]

    assert train.run(values()).result == (0.5, 0.9, 3)
    found = {group.name: (group.help, [p.name for p in group.parameters]) for group in train.get_param_groups()}
    assert found == {"Model": (None, ["depth"]), "Optimizer": ("How it is trained.", ["rate", "momentum"])}


def test_every_experiment_has_the_default_parameters_of_1_7() -> None:
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return set(params)

    assert train.run(values()).result >= DEFAULT_PARAMETERS
    assert {parameter.name for parameter in train.get_parameters()} >= DEFAULT_PARAMETERS


# -- inheritance -------------------------------------------------------------------------------------------------


@pystematic.parameter(name="of_experiment", type=int, default=1)
@pystematic.param_group("Group", pystematic.parameter(name="of_param_group", type=int, default=2))
@pystematic.experiment
def donor(params):  # type: ignore[no-untyped-def]
    pass


@pystematic.parameter(name="of_group", type=int, default=3)
@pystematic.group
def donor_group(params):  # type: ignore[no-untyped-def]
    pass


@pystematic.parameter(name="of_function", type=int, default=4)
@pystematic.param_group("Other", pystematic.parameter(name="of_its_group", type=int, default=5))
def donor_function() -> None:
    pass


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        (donor, ["of_experiment", "of_param_group"]),
        (donor_group, ["of_group"]),
        (donor_function, ["of_function", "of_its_group"]),
        ([donor, donor_group], ["of_experiment", "of_group", "of_param_group"]),
        ((donor_group, donor_function), ["of_function", "of_group", "of_its_group"]),
    ],
)
def test_parameters_are_inherited(inherited: Any, expected: list[str]) -> None:
    @pystematic.experiment(inherit_params=inherited)
    def heir(params):  # type: ignore[no-untyped-def]
        return [params[name] for name in expected]

    assert names_of(heir) == expected
    assert heir.run(values()).result == [donors_default(name) for name in expected]


def donors_default(name: str) -> int:
    return ["of_experiment", "of_param_group", "of_group", "of_function", "of_its_group"].index(name) + 1


def test_a_group_inherits_too_and_passes_it_on() -> None:
    @pystematic.group(inherit_params=donor)
    def heirs(params):  # type: ignore[no-untyped-def]
        pass

    @heirs.experiment
    def heir(params):  # type: ignore[no-untyped-def]
        pass

    assert names_of(heir) == ["of_experiment", "of_param_group"]


def test_two_sources_that_share_an_ancestor_give_its_parameters_once() -> None:
    @pystematic.experiment(inherit_params=donor)
    def left(params):  # type: ignore[no-untyped-def]
        pass

    @pystematic.experiment(inherit_params=[donor, left])
    def heir(params):  # type: ignore[no-untyped-def]
        pass

    assert names_of(heir) == ["of_experiment", "of_param_group"]


def test_what_has_no_parameters_cannot_be_inherited_from() -> None:
    def train(params):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(core.Error, match="inherit_params takes experiments, groups and functions with parameters"):
        pystematic.experiment(inherit_params="donor")(train)


# -- groups ------------------------------------------------------------------------------------------------------


def make_group() -> pystematic.Group:
    """Make a group with an experiment, and a group inside it with two."""

    @pystematic.parameter(name="root", default="r")
    @pystematic.group
    def tools(params):  # type: ignore[no-untyped-def]
        pass

    @tools.experiment
    def clean(params):  # type: ignore[no-untyped-def]
        return ["clean", params["root"]]

    @pystematic.parameter(name="branch", default="b")
    @tools.group
    def inner(params):  # type: ignore[no-untyped-def]
        pass

    @pystematic.parameter(name="leaf", default="l")
    @inner.experiment
    def grow(params):  # type: ignore[no-untyped-def]
        return ["grow", params["root"], params["branch"], params["leaf"]]

    @inner.experiment(name="bare", inherit_params_from_group=False)
    def without(params):  # type: ignore[no-untyped-def]
        return ["bare", "root" in params, "branch" in params]

    return tools


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["clean"], ["clean", "r"]),
        (["clean", "--root", "x"], ["clean", "x"]),
        (["inner", "grow"], ["grow", "r", "b", "l"]),
        (["inner", "grow", "--leaf", "z", "--branch", "y", "--root", "x"], ["grow", "x", "y", "z"]),
        (["inner", "bare"], ["bare", False, False]),
    ],
)
def test_a_group_is_a_command_line(argv: list[str], expected: list[object]) -> None:
    run = make_group().cli([*argv, "--random-seed", "1"])
    assert run is not None
    assert run.result == expected


def test_a_group_inside_a_group_need_not_inherit() -> None:
    tools = make_group()

    @tools.group(inherit_params_from_group=False)
    def alone(params):  # type: ignore[no-untyped-def]
        pass

    @alone.experiment
    def grow(params):  # type: ignore[no-untyped-def]
        pass

    assert names_of(grow) == []


def test_a_group_knows_its_experiments() -> None:
    tools = make_group()
    assert [member.name for member in tools.experiments] == ["clean", "inner"]
    assert isinstance(tools, core.ExperimentGroup)
    assert isinstance(tools.experiments[0], core.Experiment)
    assert names_of(tools) == ["root"]


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--depth", "x"], ["--dept", "1"], ["--depth"], []])
def test_without_exit_on_error_a_usage_error_is_raised(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    @pystematic.parameter(name="depth", type=int, required=True)
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(core.Error, match="depth"):
        train.cli(argv, exit_on_error=False)
    assert capsys.readouterr() == ("", "")


def test_without_exit_on_error_an_unknown_experiment_of_a_group_is_raised() -> None:
    with pytest.raises(core.Error, match="clan"):
        make_group().cli(["clan"], exit_on_error=False)


def test_wrong_parameters_in_code_are_an_error() -> None:
    with pytest.raises(core.Error, match="nothing"):
        donor.run({"nothing": 1})


def test_an_experiment_inside_an_experiment_is_an_experiment_error() -> None:
    @pystematic.experiment
    def outer(params):  # type: ignore[no-untyped-def]
        donor.run(values())

    with pytest.raises(core.ExperimentError, match="one at a time"):
        outer.run(values())


def test_an_experiment_error_is_an_error() -> None:
    assert issubclass(core.ExperimentError, core.Error)


# -- the run -----------------------------------------------------------------------------------------------------


def test_what_is_imported_before_a_run_speaks_of_the_run() -> None:
    @pystematic.parameter(name="depth", type=int, default=3)
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        with imported_output_dir.joinpath("result.json").open("w") as file:
            json.dump({"depth": imported_params["depth"]}, file)
        return (
            imported_params["depth"],
            imported_params["local_rank"],
            imported_params["subprocess"],
            dict(imported_params) == dict(params),
            pystematic.output_dir == imported_output_dir,
            pystematic.is_subprocess(),
            pystematic.local_rank(),
        )

    run = train(values())
    assert run.result == (3, 0, None, True, True, False, 0)
    assert json.loads((run.path / "result.json").read_text()) == {"depth": 3}


def test_the_directory_of_a_run_has_its_time_and_six_characters() -> None:
    run = donor.run(values(output_dir="elsewhere"))
    assert run.path.parent.absolute() == Path("elsewhere/donor").absolute()
    date, time, suffix = run.id.split("_")
    assert [len(part) for part in (date, time, suffix)] == [10, 8, 6]
    assert {"parameters.yaml", "log.txt"} <= set(os.listdir(run.path))


def test_new_seed_gives_the_numbers_of_1_7() -> None:
    @pystematic.experiment
    def train(params):  # type: ignore[no-untyped-def]
        return pystematic.new_seed(), pystematic.new_seed(16), pystematic.new_seed(nbits=64)

    assert train.run(values(random_seed=1)).result == (577090037, 37303, 14799178230035213023)


# As pystematic 1.7 with the plugin for torch wrote it.
OLD_RECORD = """\
checkpoint: null
cuda: true
data: some/where
debug: false
distributed: false
local_rank: 3
master_addr: 127.0.0.1
master_port: 29500
nnodes: 1
node_rank: 0
nproc_per_node: 1
output_dir: ./output
params_file: null
random_seed: 4
rate: 1.0e-05
sizes:
- 5
- 6
subprocess: null
"""


@pystematic.parameter(name="rate", type=float, default=0.5)
@pystematic.parameter(name="data", type=Path)
@pystematic.parameter(name="sizes", type=int, multiple=True, default=[1])
@pystematic.experiment
def recorded(params):  # type: ignore[no-untyped-def]
    return params["rate"], params["data"], params["sizes"], params["random_seed"], params["local_rank"]


def test_an_old_parameters_file_is_taken() -> None:
    Path("parameters.yaml").write_text(OLD_RECORD)
    run = recorded.cli(["--params-file", "parameters.yaml"])
    assert run is not None
    assert run.result == (1e-05, Path("some/where"), [5, 6], 4, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OLD_RECORD + "rat: 3\n", "file parameters.yaml:20: there is no parameter 'rat'. Did you mean 'rate'?"),
        (
            OLD_RECORD.replace("checkpoint: null", "checkpoint: best.pt"),
            "the checkpoint 'best.pt' cannot be read: No such file or directory.",
        ),
        (
            "distributed: true\n",
            "--nproc-per-node auto means one process for each GPU, and none is used here. Say a number.",
        ),
    ],
)
def test_what_an_old_file_asks_for_and_nobody_does_is_refused(text: str, message: str) -> None:
    Path("parameters.yaml").write_text(text)
    with pytest.raises(core.Error) as caught:
        recorded.cli(["--params-file", "parameters.yaml"], exit_on_error=False)
    assert str(caught.value) == message


# -- processes ---------------------------------------------------------------------------------------------------

PROCESSES = """
    import sys
    import pystematic as ps
    from pystematic import output_dir, params

    def note():
        output_dir.joinpath(f"rank-{ps.local_rank()}.txt").write_text(
            f"{ps.is_subprocess()} {params['depth']} {params['local_rank']} {ps.params['random_seed']}"
        )

    @ps.parameter(name="depth", type=int, default=1)
    @ps.experiment
    def train(params):
        note()
        if params["depth"] == 0:
            raise ValueError("too flat")

    @ps.parameter(name="depth", type=int, default=1)
    @ps.experiment
    def several(params):
        if not ps.is_subprocess():
            for process in [ps.launch_subprocess(), ps.launch_subprocess(depth=7, random_seed=9)]:
                process.join()
        note()

    @ps.experiment
    def nested(params):
        if ps.is_subprocess():
            ps.launch_subprocess()
        ps.launch_subprocess().join()

    @ps.group
    def main(params):
        pass

    for experiment in (several, nested):
        main.add_experiment(experiment)

    if __name__ == "__main__":
        if sys.argv[1] == "process":
            process = train.run_in_new_process({"depth": 5, "random_seed": 1})
            process.join()
            print(process.exitcode)
        elif sys.argv[1] == "sweep":
            ps.run_parameter_sweep(train, ps.param_matrix(depth=[1, 2], random_seed=[8, 9]), max_num_processes=2)
        elif sys.argv[1] == "failing-sweep":
            ps.run_parameter_sweep(train, ps.param_matrix(depth=[0, 2], random_seed=8))
        else:
            main.cli()
"""


def run_processes(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return run_python(write_program(folder, PROCESSES), *argv, cwd=folder)


def notes_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("rank-*.txt")}


def test_subprocesses_share_the_run_directory_and_have_ranks(working_dir: Path) -> None:
    ended = run_processes(working_dir, "several", "--depth", "2", "--random-seed", "1")
    assert ended.returncode == 0, ended.stderr
    [path] = working_dir.glob("output/*/*")
    assert notes_in(path) == {"rank-0.txt": "False 2 0 1", "rank-1.txt": "True 2 1 1", "rank-2.txt": "True 7 2 9"}
    assert {"log.txt", "log.rank-1.txt", "log.rank-2.txt"} <= set(os.listdir(path))


def test_a_subprocess_cannot_launch_subprocesses(working_dir: Path) -> None:
    ended = run_processes(working_dir, "nested", "--random-seed", "1")
    assert ended.returncode == 1
    assert "a process that launch_subprocess() started cannot launch further ones." in ended.stderr


def test_an_experiment_runs_in_a_new_process(working_dir: Path) -> None:
    ended = run_processes(working_dir, "process")
    assert ended.stdout == "0\n", ended.stderr
    [path] = working_dir.glob("output/train/*")
    assert notes_in(path) == {"rank-0.txt": "False 5 0 1"}


def test_a_parameter_sweep_runs_every_setting(working_dir: Path) -> None:
    ended = run_processes(working_dir, "sweep")
    assert ended.returncode == 0, ended.stderr
    found = sorted(notes_in(path)["rank-0.txt"] for path in working_dir.glob("output/train/*"))
    assert found == ["False 1 0 8", "False 1 0 9", "False 2 0 8", "False 2 0 9"]


def test_a_parameter_sweep_goes_on_after_a_failure_and_says_so_at_the_end(working_dir: Path) -> None:
    ended = run_processes(working_dir, "failing-sweep")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-2:] == [
        "pystematic.errors.ExperimentError: 1 of 2 runs of 'train' failed:",
        "  exit code 1: {'depth': 0, 'random_seed': 8}",
    ]
    assert len(list(working_dir.glob("output/train/*"))) == 2


def test_a_matrix_of_parameters_has_every_combination() -> None:
    assert pystematic.param_matrix(int_param=[1, 2], str_param=("hello", "world"), constant="ab") == [
        {"int_param": 1, "str_param": "hello", "constant": "ab"},
        {"int_param": 1, "str_param": "world", "constant": "ab"},
        {"int_param": 2, "str_param": "hello", "constant": "ab"},
        {"int_param": 2, "str_param": "world", "constant": "ab"},
    ]


# -- plugins -----------------------------------------------------------------------------------------------------

PLUGIN = """
    import pystematic
    from pystematic import core

    class Plugin:
        def __init__(self, app):
            assert isinstance(app, core.PystematicApp)
            app.on_experiment_created(self.created, priority=20)
            app.on_before_experiment(self.before)
            app.on_after_experiment(self.after)
            app.get_api_object().added = self.say

        def created(self, experiment):
            experiment.add_parameter(core.Parameter(name="extra", type=int, default=7, help="Of the plugin."))
            return experiment

        def before(self, experiment, params):
            print("before", experiment.name, params["extra"], pystematic.output_dir.is_dir())

        def after(self, error):
            print("after", repr(error))

        def say(self):
            return "added"
"""
PLUGGED_PROGRAM = """
    import pystematic

    @pystematic.parameter(name="fails", is_flag=True)
    @pystematic.experiment
    def train(params):
        print("main", params["extra"], pystematic.added())
        if params["fails"]:
            raise ValueError("no")

    if __name__ == "__main__":
        train.cli()
"""


def install_plugin(site: Path, value: str = "old_plugin:Plugin") -> None:
    """Put the plugin into a folder of installed packages, as an installer would."""
    info = site / "old_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: old-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pystematic.plugins]\nold = {value}\n")
    write_program(site, PLUGIN, name="old_plugin.py")


@pytest.mark.parametrize(
    ("argv", "returncode", "printed"),
    [
        (["--extra", "8"], 0, ["before train 8 True", "main 8 added", "after None"]),
        (["--fails"], 1, ["before train 7 True", "main 7 added", "after ValueError('no')"]),
    ],
)
def test_a_plugin_is_found_by_its_entry_point(
    argv: list[str], returncode: int, printed: list[str], working_dir: Path, tmp_path: Path
) -> None:
    install_plugin(tmp_path / "site")
    program = write_program(working_dir, PLUGGED_PROGRAM)
    ended = run_python(program, *argv, env={"PYTHONPATH": str(tmp_path / "site")})
    assert (ended.returncode, ended.stdout.splitlines()) == (returncode, printed), ended.stderr


def test_experiments_and_groups_can_be_put_together_by_hand() -> None:
    experiment = core.Experiment(lambda params: params["depth"], name="made", defaults_override={"depth": 2})
    experiment.add_parameter(core.Parameter(name="depth", type=int, default=1, help="How deep."))
    group = core.ExperimentGroup(lambda params: None, name="hand")
    group.add_experiment(experiment)
    run = group.cli(["made", "--random-seed", "1"])
    assert run is not None
    assert run.result == 2


def test_a_group_of_parameters_can_be_made_of_decorators() -> None:
    experiment = core.Experiment(lambda params: params["depth"], name="made")
    decorators: Any = [pystematic.parameter(name="depth", type=int, default=1)]
    experiment.add_param_group(core.ParameterGroup("Model", "Its shape.", decorators))
    assert experiment.run(values()).result == 1
