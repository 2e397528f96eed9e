"""The tables of the documentation say what the code says: they are read here, and compared with it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pystematic
import pystematic.torch
from pystematic import errors
from pystematic.declare import Parameter, framework_groups
from pystematic.rundir import RunDir
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


def rows_of(page: str, heading: str = "") -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2]
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def quoted(cell: str) -> list[str]:
    """Return what stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)


def prose_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


class TestDefaultParameters:
    def test_the_table_lists_the_declared_parameters_in_their_order(self) -> None:
        declared = [parameter.name for group in framework_groups() for parameter in group.parameters]

        assert [name for row in rows_of("default-parameters.md") for name in quoted(row[0])] == declared

    @pytest.mark.parametrize(
        "parameter",
        [pytest.param(one, id=one.name) for group in framework_groups() for one in group.parameters],
    )
    def test_each_row_says_what_is_declared(self, parameter: Parameter) -> None:
        row = next(row for row in rows_of("default-parameters.md") if quoted(row[0]) == [parameter.name])
        default = "" if parameter.default is None else parameter.type.format(parameter.default)

        assert row[1:6] == [
            parameter.default_help or default,
            f"`{parameter.envvar}`" if parameter.envvar else "",
            "yes" if parameter.identity else "",
            "yes" if parameter.replayed else "",
            "yes" if parameter.allow_from_file else "",
        ]
        assert row[6].startswith("hidden: ") == parameter.hidden

    def test_the_page_on_what_acts_by_default_names_real_options(self) -> None:
        known = {option for group in framework_groups() for one in group.parameters for option in one.options}
        named = {text.split()[0] for row in rows_of("what-acts-by-default.md") for text in quoted(row[2])}

        assert {text for text in named if text.startswith("--")} - known == set()


def test_the_signature_of_parameter_is_the_real_one() -> None:
    text = (REFERENCE / "parameters.md").read_text(encoding="utf-8")
    shown = text.partition("pystematic.parameter(\n")[2].partition("\n)")[0]
    pieces = [piece.strip() for piece in shown.replace("\n", " ").split(",") if piece.strip()]
    real = [
        f"{name}={'str' if name == 'type' else repr(one.default)}" if one.default is not one.empty else name
        for name, one in inspect.signature(pystematic.parameter).parameters.items()
    ]

    assert pieces == real
    assert [name for row in rows_of("parameters.md") for name in quoted(row[0])] == [
        name.partition("=")[0] for name in real
    ]


class TestRunDirectory:
    def test_the_table_lists_the_files_that_the_layout_knows(self) -> None:
        listed = {name for row in rows_of("run-directory.md", "Files") for name in quoted(row[0])}
        known = set(layout_names())

        assert listed - known == set()
        # What backends of the recorder write, if there are any, is told with them.
        elsewhere = set(quoted(prose_of(REFERENCE / "recording.md")))
        assert known - listed - elsewhere == set()

    def test_every_field_of_a_record_is_listed(self, working_dir: Path) -> None:
        run = recorded_run()

        assert fields_listed("run.json") >= names_in(run.document, inside=("pid", "program", "attempts"))
        assert fields_listed("environment.json") >= names_in(run.environment, inside=("python", "platform"))
        assert fields_listed("summary.json") >= names_in(
            json.loads(run.path.joinpath("summary.json").read_text()), inside=()
        ) | set(run.summary["loss"])
        lines = run.path.joinpath("metrics.jsonl").read_text().splitlines()
        assert fields_listed("Metrics") >= {name for line in lines for name in json.loads(line)}

    def test_every_listed_field_of_run_json_exists(self, working_dir: Path) -> None:
        run = recorded_run()

        assert {name for row in rows_of("run-directory.md", "run.json") for name in quoted(row[0])} == set(run.document)


def layout_names() -> Iterator[str]:
    """Yield every name of a file or folder that `rundir._layout` spells, numbers in it as N."""
    run_dir = RunDir("run")
    for name, member in inspect.getmembers(RunDir):
        if isinstance(member, property):
            path = getattr(run_dir, name)
            if isinstance(path, Path) and path != run_dir.path:
                yield f"{path.name}{'/' if name.endswith('_dir') else ''}"
        elif name.endswith("_file") and callable(member):
            names = set(inspect.signature(member).parameters)
            number = {"number": 2} if "number" in names else {}
            for arguments in ({}, {"rank": 1}, {"pid": 7}):
                if set(arguments) <= names:
                    yield re.sub(r"\d+", "N", member(run_dir, **arguments, **number).name)


def recorded_run() -> pystematic.Run:
    """Run something that records numbers of all kinds."""

    @pystematic.experiment
    def train(parameters: Mapping[str, object], context: pystematic.Context) -> None:
        context.recorder.scalar("loss", 0.5)
        context.recorder.scalar("loss", float("nan"))
        context.recorder.scalar("seen", 1, reduce="sum")
        context.recorder.scalar("\ud800", 1)

    return train.run(random_seed=1)


def fields_listed(heading: str) -> set[str]:
    """Return the fields that a section of the page tells of, those inside of others included."""
    cells = [f"{row[0]} {row[1]}" for row in rows_of("run-directory.md", heading)]
    return {name for cell in cells for name in quoted(cell)}


def names_in(document: Mapping[str, object], inside: tuple[str, ...]) -> set[str]:
    names = set(document)
    for name in inside:
        value = document[name]
        entry = value[0] if isinstance(value, list) else value
        assert isinstance(entry, dict)
        names |= set(entry)
    return names


class TestApi:
    @pytest.mark.parametrize("name", pystematic.__all__)
    def test_every_public_name_is_mentioned(self, name: str) -> None:
        assert f"`{name}`" in self.text() or f"`pystematic.{name}`" in self.text()

    @pytest.mark.parametrize("name", pystematic.torch.__all__)
    def test_every_name_of_pystematic_torch_is_mentioned(self, name: str) -> None:
        part = self.text().partition("## `pystematic.torch`")[2].partition("\n## ")[0]

        assert re.search(rf"`{name}\b", part)

    @pytest.mark.parametrize(
        ("cls", "heading"),
        [
            pytest.param(pystematic.Experiment, "### `Experiment`", id="Experiment"),
            pytest.param(pystematic.Group, "### `Group`", id="Group"),
            pytest.param(pystematic.Context, "## While a run is active", id="Context"),
            pytest.param(pystematic.Recorder, "### `Recorder`", id="Recorder"),
            pytest.param(pystematic.Runs, "### `Runs`", id="Runs"),
            pytest.param(pystematic.Run, "### `Run`", id="Run"),
        ],
    )
    def test_every_member_that_the_page_names_exists(self, cls: type, heading: str) -> None:
        part = self.text().partition(f"{heading}\n")[2]
        part = part.partition("\n## ")[0].partition("\n### ")[0]
        rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        tables = {re.split(r"[(\s]", name)[0] for row in rows for name in quoted(row) if not name[0].isupper()}
        members = set(dir(cls)) | set(getattr(cls, "__annotations__", {})) | INSTANCE_ATTRIBUTES.get(cls, set())

        if cls is pystematic.Context:  # the names of the module stand in the same section
            tables -= set(pystematic.__all__)
        assert sorted(tables - members) == []

    @staticmethod
    def text() -> str:
        return (REFERENCE / "api.md").read_text(encoding="utf-8")


# What `__init__` sets.
INSTANCE_ATTRIBUTES: Mapping[type, set[str]] = {
    pystematic.Experiment: {"name", "metric", "main_function"},
    pystematic.Recorder: {"count"},
    pystematic.Run: {"result", "dir"},
}


def test_the_tree_of_errors_is_that_of_the_module() -> None:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    shown = text.partition("```text\n")[2].partition("```")[0].strip().splitlines()
    real = (errors.__doc__ or "").partition("\n\n")[2].strip().splitlines()

    assert [line.replace("`", "") for line in shown] == [line.replace("`", "") for line in real]
    assert {name for name in dir(errors) if isinstance(getattr(errors, name), type)} - {"Iterable"} == {
        match for line in shown for match in re.findall(r"^[├└│─ ]*([A-Z]\w+)", line)
    }


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("*/**/*.md"))]:
        if {".venv", "node_modules"} & set(page.parts):
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            if not found.exists() or (anchor and anchor not in anchors_of(found)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page's headings make, by the rule of GitHub."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_decisions_are_short() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))

    assert decisions
    assert [page.name for page in decisions if len(page.read_text(encoding="utf-8").splitlines()) > 20] == []
