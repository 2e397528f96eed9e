"""Help pages and listings: their width, their order, and what they say of each parameter."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
import pytest

import pystematic
from pystematic.cli._help import hanging, table, terminal_width, wrap
from tests.builders import write_program
from tests.cli.builders import program, run_on_terminal

Capsys = pytest.CaptureFixture[str]


class Color(enum.Enum):
    RED = 1
    GREEN = 2


def define_train() -> None:
    @pystematic.parameter(
        "learning_rate",
        type=float,
        default=1e-3,
        help="Step size [in units of 1e-3], see [bold]paper[/bold].",
        flags=["-l"],
    )
    @pystematic.parameter("optimizer", type=Literal["sgd", "adam"], default="adam", help="Which one")
    @pystematic.parameter("amp", is_flag=True, help="Mixed precision.")
    @pystematic.parameter("sizes", type=list[int], default=[1, 2])
    @pystematic.parameter("token", default="hunter2", secret=True, envvar="TOKEN")
    @pystematic.param_group(
        "Data",
        "Where things are, and [how much].",
        pystematic.parameter("data_dir", type=Path, required=True, help="The folder."),
        pystematic.parameter("share", type=Annotated[float, annotated_types.Gt(0)], default=0.2),
    )
    @pystematic.parameter("secret_switch", is_flag=True, hidden=True)
    @pystematic.experiment
    def train(parameters: Any, context: Any) -> None:
        """Train a model.

        It takes a while; the steps are:
          - load
          - learn

        Args:
            parameters: what to do
            sizes: The sizes of the layers.
        """


def sections(page: str) -> dict[str, list[str]]:
    """Return the options of each section of a page, in their order."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in page.splitlines():
        if line and line[0] != " " and line.endswith(":"):
            heading = line[:-1]
        elif line.startswith("  -") and "--" in line:
            found.setdefault(heading, []).append(
                next(word for word in line.split() if word.startswith("--")).partition("[")[0]
            )
    return found


def test_the_page_of_an_experiment(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    define_train()
    page = program(capsys, "train", "--help").out
    own, _, rest = page.partition("Reproducibility:\n")
    assert (
        own
        == """\
Usage: python prog.py train [OPTIONS]

Train a model.

It takes a while; the steps are:
  - load
  - learn

Parameters:
  -l, --learning-rate FLOAT     Step size [in units of 1e-3], see
                                [bold]paper[/bold]. (default: 0.001)
  --optimizer sgd|adam          Which one. (default: adam)
  --amp / --no-amp              Mixed precision. (default: false)
  --sizes INT ...               The sizes of the layers. (default: 1,2)
  --token TEXT                  (default: <masked>; environment: TOKEN)

Data:
  Where things are, and [how much].
  --data-dir PATH               The folder. (required)
  --share FLOAT                 (> 0; default: 0.2)

"""
    )
    assert rest.endswith("""\
Other:
  -h, --help                    Show this page.

A value is taken from the first of: command line (or code) > environment >
params file (later ones first) > preset > project file (pyproject.toml) >
defaults= of the experiment > declared default.
""")


def test_own_parameters_stand_first_in_the_order_of_writing(capsys: Capsys) -> None:
    define_train()
    assert list(sections(program(capsys, "train", "--help").out).items()) == [
        ("Parameters", ["--learning-rate", "--optimizer", "--amp", "--sizes", "--token"]),
        ("Data", ["--data-dir", "--share"]),
        ("Reproducibility", ["--random-seed", "--seed-libraries", "--deterministic", "--precision"]),
        ("Checkpoints", ["--resume", "--checkpoint", "--keep-last", "--keep-best", "--max-time", "--grace"]),
        (
            "Processes",
            [
                *("--distributed", "--nproc-per-node", "--nnodes", "--node-rank", "--master-addr", "--master-port"),
                *("--max-restarts", "--collective-timeout", "--sync-batchnorm", "--compile"),
            ],
        ),
        ("Parameters from files", ["--params-file", "--preset", "--dry-run"]),
        (
            "Run",
            [
                *("--output-dir", "--on", "--tags", "--note", "--device", "--cuda", "--limit-batches", "--capture"),
                *("--recorders", "--system-metrics", "--debug", "--pdb"),
            ],
        ),
        ("Other", ["--help"]),
    ]


def test_inherited_parameters_stand_behind_own_ones(capsys: Capsys) -> None:
    @pystematic.parameter("root", default="here")
    @pystematic.group
    def tools() -> None: ...

    @pystematic.parameter("depth", type=int, default=1)
    @tools.experiment
    def clean() -> None: ...

    assert sections(program(capsys, "tools", "clean", "-h").out)["Parameters"] == ["--depth", "--root"]


def test_a_parameter_that_takes_the_place_of_ours_is_listed_once(capsys: Capsys) -> None:
    @pystematic.parameter("note", default="none yet", help="My own note.")
    @pystematic.experiment
    def train() -> None: ...

    page = program(capsys, "train", "--help").out
    assert sections(page)["Parameters"] == ["--note"]
    assert page.count("--note ") == 1


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("words", [[], ["train", "-h"], ["tools"], ["tools", "clean", "-h"]])
def test_no_line_is_wider_than_the_terminal(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch, width: int, words: list[str]
) -> None:
    @pystematic.parameter("a_long_name_of_a_parameter", default="v" * 20, help="A long help text, " * 10)
    @pystematic.experiment
    def train() -> None:
        """Say a lot, in a line that is longer than a narrow terminal would allow, so that it has to be broken."""

    @pystematic.parameter("root", default="here")
    @pystematic.group
    def tools() -> None:
        """A group."""

    @tools.experiment
    def clean() -> None:
        """Clean up everything that was left by the one who went before, and then clean up once more to be sure."""

    monkeypatch.setenv("COLUMNS", str(width))
    page = program(capsys, *words).out
    assert max(map(len, page.splitlines())) <= width
    # Lines longer than this are hard to read.
    assert width < 200 or 100 < max(map(len, page.splitlines())) <= 120


def test_the_width_is_that_of_the_terminal(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def train():
            "A word, " + "and a word " * 50

        train.main_function.__doc__ = "Word " * 50

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    for columns in (50, 110):
        code, screen = run_on_terminal(columns, "prog.py", "train", "--help", env={"COLUMNS": None})
        assert code == 0
        text = screen.partition("\n\n")[2].partition("\n\n")[0]
        assert columns - 6 < max(map(len, text.splitlines())) <= columns


def test_without_a_terminal_the_width_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    with open("file", "w") as file:
        assert terminal_width(file.fileno()) == 80


@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("10", 40)])
def test_columns_sets_the_width(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


@pytest.mark.parametrize("columns", ["", "0", "wide", "-5"])
def test_columns_that_are_no_number_are_ignored(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with open("file", "w") as file:
        assert terminal_width(file.fileno()) == 80


def test_the_listing_of_a_program(capsys: Capsys) -> None:
    @pystematic.experiment
    def train() -> None:
        """Train a model.

        More text.
        """

    @pystematic.experiment
    def without_words() -> None: ...

    @pystematic.group
    def tools() -> None:
        """Tools of all kinds."""

    @tools.experiment
    def clean() -> None:
        """Clean up."""

    @tools.group
    def deep() -> None:
        """Deeper."""

    @deep.experiment
    def sweep() -> None:
        """Sweep the floor."""

    assert (
        program(capsys).out
        == """\
Usage: python prog.py EXPERIMENT [OPTIONS]

Experiments:
  train                     Train a model.
  without-words
  tools                     Tools of all kinds.
    clean                   Clean up.
    deep                    Deeper.
      sweep                 Sweep the floor.

'python prog.py EXPERIMENT --help' shows the parameters of an experiment.
"""
    )


def test_the_page_of_a_group_has_its_parameters(capsys: Capsys) -> None:
    @pystematic.parameter("root", default="here", help="Where.")
    @pystematic.group
    def tools() -> None:
        """Tools of all kinds."""

    @tools.experiment
    def clean() -> None:
        """Clean up."""

    assert (
        program(capsys, "tools").out
        == """\
Usage: python prog.py tools [GROUP OPTIONS] EXPERIMENT [OPTIONS]

Tools of all kinds.

Experiments:
  clean                     Clean up.

Parameters:
  --root TEXT                     Where. (default: here)

'python prog.py tools EXPERIMENT --help' shows the parameters of an experiment.
"""
    )


def test_a_group_without_experiments_says_what_to_do(capsys: Capsys) -> None:
    @pystematic.group
    def tools() -> None: ...

    assert program(capsys, "tools").out == (
        "Usage: python prog.py tools EXPERIMENT [OPTIONS]\n\n"
        "This group holds no experiment. Put the decorator 'experiment' of the group above a main function.\n"
    )


@dataclasses.dataclass
class Sgd:
    """The plain one.

    Attributes:
        lr: Step size of SGD.
    """

    lr: float = 0.1


@dataclasses.dataclass
class Config:
    epochs: int
    "How often."
    color: Color = Color.RED
    optimizer: Sgd | None = None
    inner: Sgd = dataclasses.field(default_factory=Sgd)


def test_the_fields_of_a_class_are_documented_by_it(capsys: Capsys) -> None:
    @pystematic.experiment
    def train(config: Config) -> None: ...

    own = program(capsys, "train", "--help").out.partition("Reproducibility")[0]
    assert (
        own
        == """\
Usage: python prog.py train [OPTIONS]

Parameters:
  --epochs INT                    How often. (required)
  --color RED|GREEN               (default: RED)
  --optimizer sgd
  --optimizer.lr FLOAT            Step size of SGD. (for optimizer sgd; default: 0.1)
  --inner.lr FLOAT                Step size of SGD. (default: 0.1)

"""
    )


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"default": None}, "--value TEXT\n"),
        ({"default": ""}, "(default: '')"),
        ({"default": " x"}, "(default: ' x')"),
        ({"default": "x", "default_help": "the usual"}, "(default: the usual)"),
        ({"default": lambda: "x"}, "(default: made by <lambda>)"),
        ({"type": list[str], "default": []}, "(default: [])"),
        ({"type": bool, "default": True}, "--value / --no-value"),
        ({"type": dict[str, int], "default": {"a": 1}}, "--value TEXT=INT ..."),
        ({"allowed_values": ["a" * 30, "b" * 30]}, f"--value CHOICE (one of {'a' * 30}, {'b' * 30})"),
        ({"type": list[Literal["a", "b"]], "default": ["a"]}, "(one of a, b; default: a)"),
    ],
)
def test_what_is_said_of_a_parameter(capsys: Capsys, more: dict[str, Any], shown: str) -> None:
    @pystematic.parameter("value", **more)
    @pystematic.experiment
    def train() -> None: ...

    own = program(capsys, "train", "--help").out.partition("Reproducibility")[0]
    assert " ".join(shown.split()) in " ".join(own.split())


def test_a_default_of_the_experiment_is_shown(capsys: Capsys) -> None:
    @pystematic.parameter("lr", type=float, default=0.1)
    @pystematic.experiment(defaults={"lr": 0.5})
    def train() -> None: ...

    assert "--lr FLOAT                      (default: 0.5)" in program(capsys, "train", "--help").out


# -- layout ------------------------------------------------------------------------------------------------------


def test_text_is_broken_at_spaces() -> None:
    assert wrap("one two three\nfour\n\nfive", 8) == ["one two", "three", "four", "", "five"]


def test_a_word_that_is_too_long_stays_whole() -> None:
    assert wrap("a verylongword b", 5) == ["a", "verylongword", "b"]


def test_the_indentation_of_the_code_is_no_part_of_a_text() -> None:
    assert wrap("First.\n\n        Second\n        goes on.\n", 80) == ["First.", "", "Second goes on."]


def test_lists_and_examples_keep_their_lines() -> None:
    text = """
        Steps:
        - load
        - learn a lot
        For example:

            >>> train.run()
            <Run>
    """
    assert wrap(text, 10) == [
        "Steps:",
        "- load",
        "- learn a",
        "  lot",
        "For",
        "example:",
        "",
        "    >>>",
        "      train.run()",
        "    <Run>",
    ]


def test_nothing_is_no_line() -> None:
    assert wrap("  \n ", 80) == []


def test_further_lines_hang_below_the_first() -> None:
    assert hanging("ls: ", "A B C D E", 9) == ["ls: A B C", "    D E"]


def test_where_there_is_no_room_below_the_first_they_hang_elsewhere() -> None:
    assert hanging("Usage: prog.py ", "A B C", 20) == ["Usage: prog.py A B C"]
    assert hanging("Usage: prog.py ", "A B C", 18) == ["Usage: prog.py A B", "    C"]


def test_columns_are_aligned() -> None:
    assert table([["a", "bbb", "c"], ["aa", "b", ""]]) == "a   bbb  c\naa  b"
    assert table([]) == ""
