"""The built page in the package: it is small, and holds nothing that its policy would stop."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pystematic

STATIC = Path(pystematic.__file__).parent / "web" / "static"
MOST_KB = 700
# The table comes first, and waits for no charts.
MOST_KB_OF_TABLE = 70


def compressed_kb(path: Path) -> float:
    return len(gzip.compress(path.read_bytes(), 9)) / 1000


def test_the_page_is_small() -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file() and not path.name.startswith("report.")]
    assert sum(map(compressed_kb, files)) < MOST_KB
    assert sum(compressed_kb(STATIC / name) for name in ("report.js", "report.css")) < MOST_KB


def test_the_table_needs_a_small_part_of_it() -> None:
    start = (STATIC / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="\./([^"]+\.(?:js|css))"', start)
    assert named
    assert sum(compressed_kb(STATIC / name) for name in named) < MOST_KB_OF_TABLE


def test_the_page_starts_without_inline_scripts_and_styles() -> None:
    start = (STATIC / "index.html").read_text(encoding="utf-8")
    assert "<style" not in start
    assert " style=" not in start
    assert all(re.search(r'\bsrc="\./', tag) for tag in re.findall(r"<script[^>]*>", start))


def test_nothing_in_it_makes_code_of_text() -> None:
    for path in STATIC.rglob("*.js"):
        assert not re.search(r"\beval\(|\bnew Function\(", path.read_text(encoding="utf-8")), path.name
