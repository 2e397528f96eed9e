"""``rerun``: what differs now, other values, the recorded commit, and the comparison of the series."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pexpect
import pytest

import pystematic
from pystematic import rundir
from pystematic.cli._rerun import _is_masked, _refuse_live_modules
from pystematic.errors import ExperimentError
from tests.builders import PROCESS_LIMIT_S, make_repository, make_run, run_git, run_python, write_program
from tests.cli.builders import pystematic as command

Capsys = pytest.CaptureFixture[str]

PROGRAM = """
    import os, sys
    import pystematic
    import helper

    @pystematic.parameter("lr", type=float, default=0.5)
    @pystematic.parameter("sizes", type=list[int], default=[1, 2])
    @pystematic.parameter("amp", is_flag=True)
    @pystematic.parameter("steps", type=int, default=2)
    @pystematic.experiment
    def train(parameters, context):
        print("from", os.path.dirname(os.path.abspath(__file__)), "in", os.getcwd())
        for step in range(parameters.steps):
            context.recorder.scalar("loss", parameters.lr * helper.FACTOR / (step + 1), step=step)
            context.recorder.scalar("seed", parameters.random_seed % 1000, step=step)

    @pystematic.parameter("how", default="fail")
    @pystematic.experiment
    def end(parameters, context):
        context.recorder.scalar("loss", 1.0)
        if parameters.how == "fail":
            raise pystematic.UsageError("the program's own")
        sys.exit(int(parameters.how))

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def write_repository(folder: Path) -> Path:
    """Make a repository with the program and a helper module, whose runs git does not ignore."""
    make_repository(folder, {"helper.py": "FACTOR = 1.0\n"})
    write_program(folder, PROGRAM)
    return commit(folder)


def commit(folder: Path) -> Path:
    run_git(folder, "add", "--all", ":!output")
    run_git(folder, "commit", "--quiet", "--message", "more")
    return folder


def run_program(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> pystematic.Run:
    """Run the program in a real process and return its record."""
    run_python("prog.py", *(words or ("train",)), cwd=cwd, env=env)
    return pystematic.runs((cwd or Path()) / "output")[-1]


def rerun(
    run: pystematic.Run, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = run_python("-m", "pystematic", "rerun", run.path, *words, cwd=cwd, env=env)
    assert not [line for line in done.stderr.splitlines() if "_rerun.py" in line], done.stderr
    return done


def head(folder: Path) -> str:
    return run_git(folder, "rev-parse", "HEAD")[:12]


# -- the same again ----------------------------------------------------------------------------------------------


def test_nothing_differs(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    done = rerun(old)
    assert (done.returncode, done.stderr) == (0, f"Nothing differs from {old.id}.\n")
    new = pystematic.runs("output")[-1]
    assert new.id != old.id
    assert new.params["random_seed"] == old.params["random_seed"]
    assert new.metrics("seed").value.tolist() == old.metrics("seed").value.tolist()
    assert new.document["code"] == old.document["code"]


def test_the_record_says_what_it_repeats(working_dir: Path) -> None:
    old = run_program("train", "--lr", "0.1", cwd=write_repository(working_dir))
    rerun(old, "--set", "lr=0.2", "--verify")
    new = pystematic.runs("output")[-1]
    assert new.document["notes"] == [f"A rerun of {old.id}."]
    assert new.document["argv"] == ["pystematic", "rerun", old.id, "--set=lr=0.2", "--verify"]
    assert new.sources["lr"] == "command line"
    assert new.sources["sizes"] == f"run {old.id}"
    assert new.sources["output_dir"] == f"run {old.id}"


def test_a_run_is_repeated_from_anywhere_into_its_own_folder(working_dir: Path, tmp_path: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = rerun(old, cwd=elsewhere)
    assert done.returncode == 0
    assert done.stdout == f"from {working_dir} in {elsewhere}\n"
    assert done.stderr == (
        f"Compared with {old.id}, these differ now:\n  working directory: {working_dir} -> {elsewhere}\n"
    )
    assert len(pystematic.runs("output")) == 2


def test_another_folder_may_be_given(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    assert rerun(old, "--output-dir", "other").returncode == 0
    assert len(pystematic.runs("other")) == 1
    assert rerun(old, "--set", "output_dir=third").returncode == 0
    assert len(pystematic.runs("third")) == 1


def test_a_module_is_repeated_as_a_module(working_dir: Path) -> None:
    package = working_dir / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(package, PROGRAM.replace("import helper", "from . import helper"), "module.py")
    assert run_python("-m", "package.module", "train").returncode == 0
    done = rerun(pystematic.runs("output")[-1], "--verify")
    assert done.returncode == 0
    assert done.stderr.endswith("Verified: 4 values in 2 series, all equal.\n")
    assert pystematic.runs("output")[-1].document["program"]["module"] == "package.module"


def test_an_experiment_of_a_group_is_found(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.group
        def tools(): ...

        @tools.experiment
        def clean():
            print("cleaned")

        tools.cli()
        """,
    )
    old = run_program("clean")
    assert old.experiment == "tools.clean"
    assert rerun(old).stdout == "cleaned\n"


def test_an_experiment_that_another_module_defines_is_found(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM, "experiments.py")
    write_program(working_dir, "import experiments\nfor lr in (1, 2):\n    experiments.train.run(lr=lr)\n", "prog.py")
    run_program()
    assert len(pystematic.runs("output")) == 2
    # The program has no guard: it is loaded as far as its first run, which is not repeated by that.
    done = rerun(pystematic.runs("output")[0], "--verify")
    assert done.returncode == 0, done.stderr
    assert len(pystematic.runs("output")) == 3


def test_a_program_that_only_calls_the_experiment_is_not_needed(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM, "experiments.py")
    main = write_program(working_dir, "import experiments\nexperiments.train.run()\n", "prog.py")
    old = run_program()
    main.unlink()
    assert rerun(old, "--verify").returncode == 0


@pytest.mark.parametrize(("how", "code"), [("0", 0), ("3", 3), ("fail", 1)])
def test_the_end_is_that_of_the_run(working_dir: Path, how: str, code: int) -> None:
    old = run_program("end", "--how", how, cwd=write_repository(working_dir))
    done = rerun(old, "--verify")
    assert done.returncode == code
    if how == "0":  # sys.exit(0) completes a run, so it is compared
        assert done.stderr.endswith("Verified: 1 value in 1 series, all equal.\n")
    if how == "fail":
        assert (
            "pystematic.errors.UsageError: the program's own\n\nThe run failed. Its record is in output/end/"
            in done.stderr
        )


# -- what differs ------------------------------------------------------------------------------------------------


def test_another_commit_differs(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    before = head(working_dir)
    (working_dir / "helper.py").write_text("FACTOR = 2.0\n")
    commit(working_dir)
    run_git(working_dir, "switch", "--quiet", "--create", "other")
    assert rerun(old).stderr == (
        f"Compared with {old.id}, these differ now:\n"
        f"  commit: {before} -> {head(working_dir)}\n"
        "  branch: main -> other\n"
    )


def test_uncommitted_changes_differ(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    (working_dir / "helper.py").write_text("FACTOR = 2.0\n")
    assert rerun(old).stderr == (f"Compared with {old.id}, these differ now:\n  uncommitted changes: none -> some\n")
    changed = pystematic.runs("output")[-1]
    (working_dir / "helper.py").write_text("FACTOR = 3.0\n")
    assert rerun(changed).stderr == (
        f"Compared with {changed.id}, these differ now:\n"
        "  uncommitted changes: others, see source.patch of the record\n"
    )


def test_outside_of_git_changed_files_differ(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM)
    old = run_program()
    assert rerun(old).stderr == f"Nothing differs from {old.id}.\n"
    (working_dir / "helper.py").write_text("FACTOR = 2.0\n")
    assert rerun(old).stderr == (
        f"Compared with {old.id}, these differ now:\n  code: the program's files have changed\n"
    )


def test_python_packages_and_parameters_differ(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    path = write_program(working_dir, PROGRAM)
    old = run_program()
    environment = json.loads(old.dir.environment_file.read_text())
    environment["python"]["version"] = "3.9.0"
    environment["packages"].update({"numpy": "0.1", "gone": "1.0"})
    del environment["packages"]["pytest"]
    rundir.write_document(old.dir.environment_file, environment)
    path.write_text(path.read_text().replace('"amp"', '"amp_new"'))
    lines = rerun(old).stderr.splitlines()
    now = pystematic.runs("output")[-1].environment
    assert lines == [
        f"Compared with {old.id}, these differ now:",
        "  code: the program's files have changed",
        f"  Python: 3.9.0 -> {now['python']['version']}",
        "  package gone: 1.0 -> absent",
        f"  package numpy: 0.1 -> {now['packages']['numpy']}",
        f"  package pytest: absent -> {now['packages']['pytest']}",
        "  parameter amp_new: new, so it has its default",
        "  parameter amp: no longer declared, so its False is left out",
    ]


def test_many_packages_are_counted(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM)
    old = run_program()
    environment = json.loads(old.dir.environment_file.read_text())
    environment["packages"] = {f"a{i:02}": "1" for i in range(30)} | environment["packages"]
    rundir.write_document(old.dir.environment_file, environment)
    lines = rerun(old).stderr.splitlines()
    assert lines[1] == "  package a00: 1 -> absent"
    assert lines[19:] == ["  package a18: 1 -> absent", "  and 11 more packages"]


def test_a_record_without_an_environment_says_so(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    old.dir.environment_file.unlink()
    assert rerun(old).stderr == (
        f"Compared with {old.id}, these differ now:\n"
        "  environment: not recorded, so code, packages and Python cannot be compared\n"
    )


def test_another_number_of_threads_differs(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir), env={"OMP_NUM_THREADS": "1"})
    assert "  variable OMP_NUM_THREADS: 1 -> 3\n" in rerun(old, env={"OMP_NUM_THREADS": "3"}).stderr


def test_a_renamed_file_differs(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    write_program(working_dir, "from experiments import *\n", "prog.py")
    write_program(working_dir, PROGRAM, "experiments.py")
    assert "  experiment train: defined in prog.py -> experiments.py\n" in rerun(old).stderr


# -- other values ------------------------------------------------------------------------------------------------


def test_other_values_are_set_and_told(working_dir: Path) -> None:
    old = run_program("train", "--lr", "0.25", cwd=write_repository(working_dir))
    done = rerun(old, "--set", "lr=1e-3", "--set=sizes=3", "--set", "sizes=4", "--set", "amp=true")
    assert done.stderr == (
        f"Nothing differs from {old.id}.\n"
        "lr: 0.25 -> 0.001 (command line)\n"
        "sizes: [1, 2] -> [3, 4] (command line)\n"
        "amp: False -> True (command line)\n"
    )
    new = pystematic.runs("output")[-1]
    assert (new.params["lr"], new.params["sizes"], new.params["amp"]) == (0.001, [3, 4], True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--set", "lr"], "--set 'lr': write --set NAME=VALUE."),
        (["--set", "=3"], "--set '3': write --set NAME=VALUE."),
        (["--set", "lr=x"], "--set lr, from the command line: 'x' is not a number."),
        (["--set", "lrr=1"], "there is no parameter 'lrr' (command line). Did you mean 'lr'?"),
        (["--set", "lr=1", "--set", "lr=2"], "--set lr is given twice: '1', then '2'. Give it once."),
        (["--rtol", "0.1"], "--rtol says how --verify compares. Give --verify too."),
        (["--verify", "--rtol", "-1"], "--rtol -1.0: give a number that is 0 or more."),
        (["--verify", "--rtol", "nan"], "--rtol nan: give a number that is 0 or more."),
    ],
)
def test_wrong_usage(working_dir: Path, words: list[str], problem: str) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM)
    old = run_program()
    done = rerun(old, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pystematic rerun: error: {problem}\nSee 'pystematic rerun --help'.\n"
    assert len(pystematic.runs("output")) == 1


def test_the_record_counts_more_than_the_environment(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.parameter("lr", type=float, default=0.5, envvar="OWN_LR")
        @pystematic.parameter("seen", default="by hand", allow_from_file=False)
        @pystematic.experiment
        def train(parameters):
            print(parameters.lr, parameters.seen)

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    old = run_program("train", "--seen", "only here", env={"OWN_LR": "0.25"})
    assert rerun(old).stdout == "0.25 only here\n"
    assert rerun(old, env={"OWN_LR": "0.75"}).stdout == "0.25 only here\n"


CLASSES_PROGRAM = """
    from dataclasses import dataclass, field
    import pystematic

    @dataclass
    class Adam:
        lr: float = 0.1
        beta: float = 0.9

    @dataclass
    class Sgd:
        lr: float = 0.5

    @dataclass
    class Config:
        optimizer: Adam | Sgd = field(default_factory=Adam)

    @pystematic.experiment
    def train(config: Config):
        print(config.optimizer)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def test_another_class_may_be_chosen(working_dir: Path) -> None:
    write_program(working_dir, CLASSES_PROGRAM)
    old = run_program("train", "--optimizer.lr", "0.25", "--optimizer.beta", "0.5")
    assert rerun(old).stdout == "Adam(lr=0.25, beta=0.5)\n"
    assert rerun(old, "--set", "optimizer=sgd").stdout == "Sgd(lr=0.25)\n"


ODD_PROGRAM = """
    import pystematic

    class Odd:
        pass

    @pystematic.parameter("made", type=lambda text: Odd(), default=None)
    @pystematic.experiment
    def train(parameters):
        print(type(parameters.made).__name__)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def test_what_was_recorded_as_text_only_has_to_be_given(working_dir: Path) -> None:
    write_program(working_dir, ODD_PROGRAM)
    old = run_program("train", "--made", "x")
    done = rerun(old)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "pystematic rerun: error: made was recorded as text only: '<__main__.Odd object at 0x"
    )
    assert done.stderr.splitlines()[0].endswith("Give it: --set made=VALUE.")
    assert rerun(old, "--set", "made=x").stdout == "Odd\n"


def test_a_default_that_was_recorded_as_text_only_is_made_again(working_dir: Path) -> None:
    write_program(working_dir, ODD_PROGRAM.replace("default=None", "default=Odd"))
    old = run_program("train")
    assert rerun(old).stdout == "Odd\n"


SECRET_PROGRAM = """
    import pystematic

    @pystematic.parameter("api_key", required=True)
    @pystematic.parameter("url", default="http://host")
    @pystematic.experiment
    def train(parameters):
        print(len(parameters.api_key), len(parameters.url))

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def test_masked_values_are_asked_for_off_a_terminal(working_dir: Path) -> None:
    write_program(working_dir, SECRET_PROGRAM)
    old = run_program("train", "--api-key", "hunter2", "--url", "http://me:word@host")
    done = rerun(old)
    assert done.returncode == 2
    assert done.stderr == (
        f"pystematic rerun: error: api_key is masked in the record of {old.id}. Give it: --set api-key=VALUE.\n"
        f"pystematic rerun: error: url is masked in the record of {old.id}. Give it: --set url=VALUE.\n"
        "See 'pystematic rerun --help'.\n"
    )
    done = rerun(old, "--set", "api-key=12345", "--set", "url=u")
    assert (done.returncode, done.stdout) == (0, "5 1\n")
    assert "12345" not in done.stderr
    assert "12345" not in pystematic.runs("output")[-1].dir.run_file.read_text()


def test_masked_values_are_asked_for_on_a_terminal(working_dir: Path) -> None:
    write_program(working_dir, SECRET_PROGRAM)
    old = run_program("train", "--api-key", "hunter2")
    child = pexpect.spawn(
        sys.executable, ["-m", "pystematic", "rerun", str(old.path)], encoding="utf-8", timeout=PROCESS_LIMIT_S
    )
    child.expect_exact("api_key (masked in the record): ")
    child.sendline("none")
    child.expect_exact("4 11")
    child.expect(pexpect.EOF)
    assert "none" not in child.before
    child.close()
    assert child.exitstatus == 0
    assert str(pystematic.runs("output")[-1].params["api_key"]) == "<masked>"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("<masked>", True),
        ("a<masked>b", True),
        (["x", {"k": "<masked>"}], True),
        ("text", False),
        (3, False),
        (None, False),
    ],
)
def test_what_counts_as_masked(value: object, masked: bool) -> None:
    assert _is_masked(value) is masked


# -- what cannot be repeated -------------------------------------------------------------------------------------


def test_a_run_of_a_notebook_is_refused(capsys: Capsys) -> None:
    run = make_run(Path("output"), program={"file": None, "module": None, "code_file": "<ipython-input-1>"})
    ended = command(capsys, "rerun", "last")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"pystematic: the record of {run.id} names no program file: it was run in a notebook or on standard input. "
        f"Repeat it there: run(params_file='{run.id}'), or --params-file {run.id}.\n"
    )


def test_a_program_that_is_gone_is_refused(capsys: Capsys) -> None:
    run = make_run(Path("output"), program={"file": "/gone/prog.py", "module": None, "code_file": "/gone/prog.py"})
    ended = command(capsys, "rerun", "last")
    assert ended.err == (
        f"pystematic: the program of {run.id} is gone: '/gone/prog.py'. Put it back, or run it from its new place with "
        f"--params-file {run.id}.\n"
    )


def test_an_experiment_that_is_gone_is_refused(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    path = write_program(working_dir, PROGRAM)
    old = run_program()
    path.write_text(path.read_text().replace("def train", "def trains"))
    done = rerun(old)
    assert done.returncode == 2
    assert done.stderr == (
        "pystematic rerun: error: there is no experiment 'train'. Did you mean 'trains'?\n"
        "See 'pystematic rerun --help'.\n"
    )


def test_a_program_that_no_longer_works_shows_its_traceback(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    path = write_program(working_dir, PROGRAM)
    old = run_program()
    (working_dir / "helper.py").write_text("raise ValueError('no')\n")
    done = rerun(old)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"""\
Traceback (most recent call last):
  File "{path}", line 3, in <module>
    import helper
  File "{working_dir / "helper.py"}", line 1, in <module>
    raise ValueError('no')
ValueError: no
"""
    )


# -- the recorded commit -----------------------------------------------------------------------------------------


def leftovers() -> list[str]:
    return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("pystematic-exact-")]


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_exact_takes_the_commit_with_its_patch(working_dir: Path) -> None:
    folder = write_repository(working_dir / "repository")
    (folder / "old.py").write_text("removed later\n")
    commit(folder)
    (folder / "helper.py").write_text("from new import FACTOR\n")  # changed
    (folder / "new.py").write_text("FACTOR = 2.0\n")  # untracked
    (folder / "old.py").unlink()  # deleted
    old = run_program("train", "--lr", "0.25", cwd=folder)
    before = head(folder)

    (folder / "new.py").unlink()
    (folder / "helper.py").write_text("FACTOR = 7.0\n")
    commit(folder)
    write_program(folder, "raise SystemExit('the live program')\n")

    done = rerun(old, "--exact", "--verify", cwd=working_dir)
    assert done.returncode == 0, done.stderr
    place = done.stdout.split()[1]
    assert done.stdout == f"from {place} in {working_dir}\n"
    assert place.startswith(str(working_dir.parent / "temporary"))
    assert done.stderr == (
        f"Commit {before} with its patch in {place}\n"
        f"Compared with {old.id}, these differ now:\n"
        f"  working directory: {folder} -> {working_dir}\n"
        "Verified: 4 values in 2 series, all equal.\n"
    )
    assert pystematic.runs(folder / "output")[0].id == old.id
    assert len(pystematic.runs(folder / "output")) == 2
    assert run_git(folder, "worktree", "list").count("\n") == 1
    assert leftovers() == []
    assert run_git(folder, "status", "--short", "--untracked-files=no") == " M prog.py\n"


def test_exact_may_have_other_values(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    (working_dir / "helper.py").write_text("FACTOR = 7.0\n")
    done = rerun(old, "--exact", "--set", "lr=0.125", "--output-dir", "other dir")
    assert done.returncode == 0, done.stderr
    assert "lr: 0.5 -> 0.125 (command line)\n" in done.stderr
    (new,) = pystematic.runs("other dir")
    assert new.metrics("loss").value.tolist() == [0.125, 0.0625]
    assert new.document["argv"][:4] == ["pystematic", "rerun", old.id, "--set=lr=0.125"]


def test_exact_of_a_module(working_dir: Path) -> None:
    package = working_dir / "package"
    make_repository(working_dir, {"package/__init__.py": "", "package/helper.py": "FACTOR = 1.0\n"})
    write_program(package, PROGRAM.replace("import helper", "from package import helper"), "module.py")
    commit(working_dir)
    assert run_python("-m", "package.module", "train").returncode == 0
    old = pystematic.runs("output")[-1]
    (package / "helper.py").write_text("FACTOR = 7.0\n")
    done = rerun(old, "--exact", "--verify")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"Nothing differs from {old.id}.\nVerified: 4 values in 2 series, all equal.\n")


@pytest.mark.parametrize("late", [False, True])
def test_a_module_of_the_live_tree_is_refused(working_dir: Path, late: bool) -> None:
    make_repository(working_dir, {"src/helper.py": "FACTOR = 1.0\n"})
    text = PROGRAM
    if late:
        text = text.replace("    import helper\n", "").replace("        print", "        import helper\n        print")
    write_program(working_dir, text)
    commit(working_dir)
    variables = {"PYTHONPATH": str(working_dir / "src")}
    old = run_program("train", env=variables)
    assert old.status == "completed"
    done = rerun(old, "--exact", env=variables)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"pystematic: --exact: the module 'helper' is imported from the live tree ({working_dir}/src/helper.py), not "
        "from the recorded commit. PYTHONPATH or an editable install leads there; take it out of the way, or rerun "
        "without --exact."
    )
    assert leftovers() == []


def test_installed_modules_are_not_of_the_live_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repository"
    paths = {
        "one": root / "venv" / "lib" / "site-packages" / "one.py",
        "two": tmp_path / "elsewhere" / "two.py",
        "three": tmp_path / "worktree" / "three.py",
        "four": None,
    }
    modules = {name: SimpleNamespace(__file__=None if path is None else str(path)) for name, path in paths.items()}
    monkeypatch.setattr(sys, "modules", modules)
    _refuse_live_modules(str(root), str(tmp_path / "worktree"))
    modules["five"] = SimpleNamespace(__file__=str(root / "five.py"))
    with pytest.raises(ExperimentError, match="the module 'five' is imported from the live tree"):
        _refuse_live_modules(str(root), str(tmp_path / "worktree"))


def test_exact_needs_a_commit(working_dir: Path) -> None:
    (working_dir / "helper.py").write_text("FACTOR = 1.0\n")
    write_program(working_dir, PROGRAM)
    old = run_program()
    done = rerun(old, "--exact")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"pystematic: --exact: the record of {old.id} names no commit: it was not run in a git repository. "
        "Rerun it without --exact.\n"
    )


def test_a_commit_that_is_gone_is_said(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    environment = json.loads(old.dir.environment_file.read_text())
    environment["git"]["commit"] = "0" * 40
    rundir.write_document(old.dir.environment_file, environment)
    done = rerun(old, "--exact")
    assert done.returncode == 1
    assert done.stderr.startswith("pystematic: --exact: git worktree add failed: ")
    assert "0" * 40 in done.stderr
    assert leftovers() == []


def test_a_program_outside_of_the_repository_is_refused(working_dir: Path) -> None:
    write_repository(working_dir / "repository")
    write_program(
        working_dir,
        f"""
        import sys
        sys.path.insert(0, {str(working_dir / "repository")!r})
        import experiments

        if __name__ == "__main__":
            experiments.train.cli()
        """,
    )
    (working_dir / "repository" / "prog.py").rename(working_dir / "repository" / "experiments.py")
    old = run_program("--lr", "1")
    assert old.status == "completed"
    done = rerun(old, "--exact")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"pystematic: --exact: the program '{working_dir}/prog.py' does not lie in the repository "
        f"'{working_dir}/repository', whose commit is recorded. Rerun it without --exact."
    )
    assert leftovers() == []


def test_what_the_patch_lacks_is_said(working_dir: Path) -> None:
    write_repository(working_dir)
    (working_dir / ".env").write_text("KEY=1\n")
    (working_dir / "helper.py").write_text("FACTOR = 1.0  # hf_" + "a" * 30 + "\n")
    old = run_program()
    done = rerun(old, "--exact")
    assert "\nNot in the recorded patch, so as committed or absent: .env\n" in done.stderr
    assert "\nSecrets are masked in the recorded patch, so also in this copy.\n" in done.stderr


WAITING_PROGRAM = """
    import os, threading
    import pystematic

    @pystematic.experiment
    def train():
        if os.path.exists("wait"):
            print("waiting", flush=True)
            threading.Event().wait()  # for a signal

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_exact_run_and_nothing_is_left(working_dir: Path, number: int, code: int) -> None:
    make_repository(working_dir)
    write_program(working_dir, WAITING_PROGRAM)
    commit(working_dir)
    old = run_program()
    Path("wait").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "pystematic", "rerun", str(old.path), "--exact"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"waiting\n"
        if number == signal.SIGINT:  # as a terminal does
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(PROCESS_LIMIT_S) == code
    assert pystematic.runs("output")[-1].status == "interrupted"
    assert leftovers() == []
    assert run_git(working_dir, "worktree", "list").count("\n") == 1


# -- the comparison of the series --------------------------------------------------------------------------------


def test_verify_finds_where_series_first_differ(working_dir: Path) -> None:
    old = run_program("train", "--lr", "0.5", "--steps", "3", cwd=write_repository(working_dir))
    done = rerun(old, "--verify", "--set", "lr=0.25")
    new = pystematic.runs("output")[-1]
    assert done.returncode == 1
    assert done.stderr.endswith(f"{old.id} and {new.id} differ:\n  loss: at step 0 it was 0.5, now 0.25\n")
    done = rerun(old, "--verify", "--set", "steps=2")
    assert done.returncode == 1
    assert done.stderr.endswith("  loss: it had 3 values, now 2\n  seed: it had 3 values, now 2\n")


def test_verify_within_a_tolerance(working_dir: Path) -> None:
    old = run_program("train", "--lr", "0.5", cwd=write_repository(working_dir))
    done = rerun(old, "--verify", "--set", "lr=0.501", "--rtol", "0.01")
    assert done.returncode == 0
    assert done.stderr.endswith("Verified: 4 values in 2 series, all equal within rtol=0.01.\n")
    assert rerun(old, "--verify", "--set", "lr=0.51", "--rtol", "0.01").returncode == 1


def test_verify_where_nothing_is_recorded(working_dir: Path) -> None:
    write_program(working_dir, WAITING_PROGRAM)
    old = run_program()
    done = rerun(old, "--verify")
    new = pystematic.runs("output")[-1]
    assert done.returncode == 0
    assert done.stderr.endswith(
        f"Neither {old.id} nor {new.id} has recorded a series, so there is nothing to compare.\n"
    )


# -- for other programs ------------------------------------------------------------------------------------------


def test_the_outcome_as_json(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    (working_dir / "helper.py").write_text("FACTOR = 2.0\n")
    done = rerun(old, "--verify", "--output", "json")
    new = pystematic.runs("output")[-1]
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "run": new.id,
        "rerun_of": old.id,
        "status": "completed",
        "path": str(new.path),
        "verified": False,
        "differences": ["uncommitted changes: none -> some"],
        "series_that_differ": {"loss": "at step 0 it was 0.5, now 1.0"},
    }
    assert f"from {working_dir} in {working_dir}\n" in done.stderr  # what the experiment printed


def test_the_outcome_as_csv(working_dir: Path) -> None:
    old = run_program(cwd=write_repository(working_dir))
    done = rerun(old, "--exact", "--output", "csv")
    new = pystematic.runs("output")[-1]
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row == {
        "run": new.id,
        "rerun_of": old.id,
        "status": "completed",
        "path": str(new.path),
        "verified": "",
    }
