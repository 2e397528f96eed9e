"""What is printed reaches its reader, or fails in one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator

import pytest

from pystematic.cli._output import print_json, print_records, print_text


@contextlib.contextmanager
def stdout_to(fd: int, encoding: str = "utf-8") -> Iterator[None]:
    """Lead standard output to a descriptor, with strict errors as in a plain interpreter; close it at the end."""
    stream = io.TextIOWrapper(io.FileIO(fd, "w"), encoding=encoding, errors="strict")
    with stream, contextlib.redirect_stdout(stream):
        yield


def test_what_the_encoding_lacks_is_escaped() -> None:
    reading, writing = os.pipe()
    with stdout_to(writing, "ascii"):
        print_text("grö\udcffße …")
    with open(reading, "rb") as file:
        assert file.read() == b"gr\\xf6\\udcff\\xdfe \\u2026\n"


def test_a_closed_stream_swallows_everything() -> None:
    with contextlib.redirect_stdout(None):
        print_text("text")
        print_json({})


def test_a_reader_that_is_gone_is_no_error_now_or_later() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with stdout_to(writing):
        print_text("text")
        print_text("more")


def test_a_full_disk_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with stdout_to(os.open("/dev/full", os.O_WRONLY)), pytest.raises(SystemExit) as ended:
        print_text("text")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "pystematic: standard output cannot be written: No space left on device.\n"


def test_json_is_strict_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ü": [float("nan"), float("-inf"), 1]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"ü": [{"special": "nan"}, {"special": "-inf"}, 1]}


@pytest.mark.parametrize(("form", "printed"), [("json", '{\n  "a": 1\n}\n'), ("csv", "a,b\n1,\n")])
def test_records_are_printed_in_either_form(capsys: pytest.CaptureFixture[str], form: str, printed: str) -> None:
    print_records(form, {"a": 1}, [{"a": 1}], ["a", "b"])
    assert capsys.readouterr().out == printed
