"""Reports: what they hold, and that nothing in them is markup or script but ours."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pystematic import runs
from pystematic.errors import UsageError
from pystematic.web import _report
from pystematic.web._report import embed_json, format_report, make_report, write_report
from tests.builders import make_run
from tests.store.builders import make_recorded, moment, record
from tests.web.builders import ODD_TEXTS, name_of

OUTPUT = Path("output")
SCRIPT = "const text = '</script><!-- &';\r\nrun();"
STYLE = "body::after { content: '</style>' }"


class Elements(HTMLParser):
    """What a parser of HTML makes of a page: the elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            tag, text = self.texts[-1]
            self.texts[-1] = tag, text + data


def report_of(folder: Path = OUTPUT) -> Any:
    return make_report(str(folder), list(runs(folder)), "a title")


def test_a_report_holds_table_curves_and_comparison(working_dir: Path) -> None:
    first = make_recorded(OUTPUT, {"loss": [2.0, 1.0, math.nan], "system/cpu": [1.0]}, 0, params={"lr": 0.1})
    second = make_recorded(OUTPUT, {"loss": [3.0]}, 1, params={"lr": 0.2})
    make_run(OUTPUT, started_at=moment(2), params={"lr": 0.3})
    report = make_report(str(OUTPUT), [run for run in runs(OUTPUT) if run.params["lr"] < 0.3], "two runs")

    assert [row["id"] for row in report["table"]["rows"]] == [name_of(first), name_of(second)]
    assert len(report["table"]["columns"]) == len(report["columns"])
    assert report["tags"] == [{"tag": "loss", "kind": "scalar", "n_runs": 2}]
    assert [one["x"] for one in report["series"][0]["series"]] == [[0, 1], [0]]
    assert report["relative"][0]["x"] == "relative"
    assert report["comparison"]["parameters"] == [{"name": "lr", "values": [0.1, 0.2]}]
    assert [page["id"] for page in report["runs"]] == [name_of(first), name_of(second)]
    assert report["title"] == "two runs"


def test_of_many_lines_fewer_points_are_kept(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recorded(OUTPUT, {f"tag {i}": [float(j % 7) for j in range(500)] for i in range(10)})
    monkeypatch.setattr(_report, "MOST_POINTS", 4000)
    lengths = [len(one["x"]) for answer in report_of()["series"] for one in answer["series"]]

    assert len(lengths) == 10
    assert max(lengths) <= 2 * 100 + 10


def test_nothing_of_a_run_is_markup_in_the_file(working_dir: Path) -> None:
    for i, text in enumerate(ODD_TEXTS):
        run = make_run(OUTPUT, params={"text": text, "tags": [text], "note": text}, started_at=moment(i))
        record(run, {text: [1.0]})
    report = report_of()
    report["title"] = ODD_TEXTS[1]
    content = format_report(report, SCRIPT, STYLE).decode("utf-8")
    page = Elements(content)

    assert [tag for tag, _ in page.found].count("script") == 2
    assert {tag for tag, _ in page.found} == {"html", "head", "meta", "title", "style", "body", "div", "script"}
    assert not [name for _, attributes in page.found for name in attributes if name.startswith("on") or name == "src"]
    data = json.loads(page.texts[1][1])
    assert [row["note"] for row in data["table"]["rows"]] == list(ODD_TEXTS)
    assert "<" not in page.texts[1][1]


def test_only_our_script_and_style_are_in_the_policy_of_the_page(working_dir: Path) -> None:
    OUTPUT.mkdir()
    page = Elements(format_report(report_of(), SCRIPT, STYLE).decode("utf-8"))
    policy = next(a["content"] for tag, a in page.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None

    def hash_of(text: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    (_, style), (_, _), (_, script) = page.texts
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src '{hash_of(script)}';" in policy
    assert f"style-src '{hash_of(style)}';" in policy
    assert "\r" not in script
    assert "</script" not in script
    assert "unsafe" not in policy
    assert re.sub(r"\\([/!])", r"\1", script) == SCRIPT.replace("\r", "")


@pytest.mark.parametrize("text", [*ODD_TEXTS, "<!--", "]]>", "&lt;"])
def test_embedded_json_comes_back_and_has_no_letter_of_markup(text: str) -> None:
    embedded = embed_json({text: [text]})

    assert json.loads(embedded) == {text: [text]}
    assert not set("<>&") & set(embedded)


def test_a_folder_without_the_built_page_is_one_error(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_report, "STATIC_DIR", str(working_dir))
    make_run(OUTPUT)

    with pytest.raises(UsageError, match=r"^a report needs report\.js, which was not built into this installation"):
        write_report("report.html", str(OUTPUT), list(runs(OUTPUT)))
