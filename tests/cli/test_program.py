"""Programs that are loaded without being run, and programs that ``pystematic run`` runs as Python would."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pystematic
from pystematic.cli._program import NO_EXPERIMENT, find_node, import_root, load_program, program_root
from pystematic.errors import DeclarationError, NotFoundError
from tests.builders import HELLO_PROGRAM, run_python, write_program
from tests.cli.builders import end_of
from tests.cli.builders import pystematic as command

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _modules_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what a test loads: the program itself, and the modules beside it."""
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # the first one is the program's
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name in ("__mp_main__", "helper", "package") or name.startswith("package."):
            del sys.modules[name]


def test_loading_defines_the_experiments_and_runs_nothing(working_dir: Path) -> None:
    load_program(str(write_program(working_dir)))
    assert list(program_root().members or ()) == ["train"]
    assert not Path("output").exists()


def test_a_loaded_program_imports_from_its_own_folder(working_dir: Path) -> None:
    folder = working_dir / "folder"
    folder.mkdir()
    write_program(folder, "VALUE = 7\n", "helper.py")
    path = write_program(folder, "import helper\nVALUE = helper.VALUE\n")
    assert load_program(str(path)).VALUE == 7
    assert sys.argv == [str(path)]


def test_a_loaded_module_imports_as_python_m_does(working_dir: Path) -> None:
    package = working_dir / "package"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 7\n")
    path = write_program(package, "from . import VALUE\nimport package\n", "main.py")
    assert load_program(str(path), "package.main").VALUE == 7


@pytest.mark.parametrize(
    ("module", "root"), [(None, "/a/b/c"), ("main", "/a/b/c"), ("c.main", "/a/b"), ("b.c.__main__", "/a")]
)
def test_the_folder_that_a_program_imports_from(module: str | None, root: str) -> None:
    assert import_root("/a/b/c/main.py", module) == root


def test_what_a_pickle_calls_main_is_the_loaded_program(working_dir: Path) -> None:
    loaded = load_program(str(write_program(working_dir)))
    assert sys.modules["__main__"] is sys.modules["__mp_main__"] is loaded


def test_annotations_of_a_program_are_evaluated_as_it_says(working_dir: Path) -> None:
    path = write_program(working_dir, "def f(x: int): ...\nVALUE = f.__annotations__['x']\n")
    assert load_program(str(path)).VALUE is int


@pytest.mark.parametrize(
    "last_line",
    ["train.cli()", "pystematic.global_entrypoint()", "sys.exit(train.cli())", "train.run()", "(lambda: train())()"],
)
def test_a_program_without_a_guard_is_loaded_and_runs_nothing(working_dir: Path, last_line: str) -> None:
    path = write_program(
        working_dir,
        f"""
        import sys
        import pystematic

        @pystematic.experiment
        def train():
            raise AssertionError("it was run")

        {last_line}
        """,
    )
    load_program(str(path))
    assert list(program_root().members or ()) == ["train"]
    assert not Path("output").exists()


def test_a_program_that_fails_shows_its_own_traceback(capsys: Capsys, working_dir: Path) -> None:
    path = write_program(working_dir, "def fail():\n    raise ValueError('no')\n\nfail()\n")
    ended = end_of(capsys, load_program, str(path))
    assert ended.code == 1
    assert (
        ended.err
        == f"""\
Traceback (most recent call last):
  File "{path}", line 4, in <module>
    fail()
  File "{path}", line 2, in fail
    raise ValueError('no')
ValueError: no
"""
    )


def test_a_program_that_is_no_python_shows_where(capsys: Capsys, working_dir: Path) -> None:
    path = write_program(working_dir, "def fail(:\n")
    assert end_of(capsys, load_program, str(path)).err.splitlines()[:2] == [
        f'  File "{path}", line 1',
        "    def fail(:",
    ]


def test_a_wrong_declaration_is_its_own_message(working_dir: Path) -> None:
    path = write_program(working_dir, "import pystematic\npystematic.parameter('x', type=int, default='a')\n")
    with pytest.raises(DeclarationError) as caught:
        load_program(str(path))
    assert str(caught.value) == f"{path}:2: parameter 'x': the default 'a' is not a whole number."


def test_a_program_without_experiments_is_told_what_is_missing(working_dir: Path) -> None:
    load_program(str(write_program(working_dir, "import pystematic\n")))
    with pytest.raises(NotFoundError) as caught:
        program_root()
    assert str(caught.value) == NO_EXPERIMENT


# -- the names of experiments ------------------------------------------------------------------------------------


def define_tree() -> None:
    @pystematic.experiment
    def train() -> None: ...

    @pystematic.group
    def tools() -> None: ...

    @tools.experiment(name="clean.all")
    def clean_all() -> None: ...

    @tools.experiment
    def clean() -> None: ...


@pytest.mark.parametrize(
    ("words", "full_name"),
    [
        (["train"], "train"),
        (["tools", "clean"], "tools.clean"),
        (["tools.clean"], "tools.clean"),
        (["tools.clean.all"], "tools.clean.all"),
        (["tools"], "tools"),
    ],
)
def test_experiments_are_found_by_their_words_or_full_names(words: list[str], full_name: str) -> None:
    define_tree()
    assert find_node(program_root(), words).full_name == full_name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trai"], "there is no experiment 'trai'. Did you mean 'train'?"),
        (["evaluate"], "there is no experiment 'evaluate'. There are train, tools."),
        (["tools.cleam"], "there is no experiment 'cleam' in the group 'tools'. Did you mean 'clean'?"),
        (["train", "more"], "there is no experiment 'more'. 'train' is an experiment itself."),
    ],
)
def test_what_is_not_found_is_told_with_the_nearest_name(words: list[str], message: str) -> None:
    define_tree()
    with pytest.raises(NotFoundError) as caught:
        find_node(program_root(), words)
    assert str(caught.value) == message


# -- pystematic run, in a real interpreter -----------------------------------------------------------------------


def run(*words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    done = run_python("-m", "pystematic", "run", *words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def plain(*words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    done = run_python(*words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


SELF_PROGRAM = """
    import os, sys
    print(__name__, __file__, sys.argv[1:], sys.path[0] == os.path.dirname(__file__), sys.modules["__main__"].__file__)
    print(__doc__, [name for name in globals() if not name.startswith("__")])
    import helper
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HELLO_PROGRAM, []),
        (HELLO_PROGRAM, ["train", "--help"]),
        (HELLO_PROGRAM, ["train", "--learning-rate", "x"]),
        (HELLO_PROGRAM, ["train", "--learning-rate", "2"]),
        (SELF_PROGRAM, ["a", "--help", "-x"]),
        ("def f():\n    raise ValueError('no')\n\nf()\n", []),
        ("1 +\n", []),
        ("import sys\nsys.exit(3)\n", []),
        ("import sys\nsys.exit('words')\n", []),
        ("import sys\nsys.excepthook = lambda *_: print('my own')\nraise ValueError\n", []),
        ("import pystematic\nraise pystematic.UsageError('my own')\n", []),
        ("import atexit\nX = 1\natexit.register(lambda: print(X))\n", []),
    ],
)
def test_run_is_the_same_as_python(working_dir: Path, text: str, words: list[str]) -> None:
    write_program(working_dir, text)
    write_program(working_dir, "", "helper.py")
    assert run("prog.py", *words) == plain("prog.py", *words)


def test_a_failing_experiment_is_the_same_as_under_python(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def train():
            raise ValueError("no")

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    (code, out, err), (other_code, other_out, other_err) = run("prog.py", "train"), plain("prog.py", "train")
    assert (code, out) == (other_code, other_out) == (1, "")
    assert err.rpartition("/")[0] == other_err.rpartition("/")[0]
    assert err.splitlines()[:4] == [
        "Traceback (most recent call last):",
        f'  File "{working_dir / "prog.py"}", line 5, in train',
        '    raise ValueError("no")',
        "ValueError: no",
    ]


def test_a_run_can_be_found_again_from_everywhere(working_dir: Path) -> None:
    write_program(working_dir)
    (working_dir / "elsewhere").mkdir()
    assert run("prog.py", "train")[0] == 0
    (recorded,) = pystematic.runs("output")
    assert recorded.document["program"] == {
        "file": str(working_dir / "prog.py"),
        "module": None,
        "code_file": str(working_dir / "prog.py"),
    }


def test_a_new_process_finds_the_program(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def inner():
            print("inner", __name__)

        @pystematic.experiment
        def train():
            process = inner.run_in_new_process()
            process.join()
            print(process.exitcode)

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    assert run("prog.py", "train") == (0, "inner __mp_main__\n0\n", "")


def test_a_new_process_of_a_program_without_a_guard_says_what_is_missing(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def inner():
            print("inner")

        inner.run()
        if __name__ == "__main__":
            process = inner.run_in_new_process()
            process.join()
            print(process.exitcode)
        """,
    )
    assert plain("prog.py") == (
        0,
        "inner\n1\n",
        "pystematic: experiment 'inner' is run while the program is only imported. "
        "Write the call below if __name__ == '__main__'.\n",
    )


def test_an_interrupted_program_ends_like_one(working_dir: Path) -> None:
    write_program(working_dir, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n")
    code, _, err = run("prog.py")
    assert (code, err) == (128 + signal.SIGINT, "")


def test_the_command_itself_may_be_called_in_process(capsys: Capsys, working_dir: Path) -> None:
    write_program(working_dir)
    ended = command(capsys, "run", "prog.py", "train", "--learning-rate", "2")
    assert (ended.code, ended.out, ended.err) == (0, "hello 2.0\n", "")


def test_a_near_file_is_suggested(capsys: Capsys, working_dir: Path) -> None:
    write_program(working_dir, name="digits.py")
    ended = command(capsys, "run", "digit.py")
    assert ended.err.startswith("pystematic run: error: there is no program 'digit.py'. Did you mean 'digits.py'?\n")
