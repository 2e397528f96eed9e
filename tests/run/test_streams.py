"""Copies of what Python prints: the streams stay the same objects, and look as if nobody were there."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wrapt
from tqdm.contrib import DummyTqdmFile

from pystematic.run._streams import StreamTee
from tests.run.builders import logged, open_log


@contextlib.contextmanager
def tee_into(path: Path, *streams: Any) -> Iterator[StreamTee]:
    """Copy streams, or those of this process, into a log."""
    with open_log(path) as log:
        tee = StreamTee(log)
        tee.install(streams or None)
        try:
            yield tee
        finally:
            tee.restore()


def make_text_stream(encoding: str = "utf-8", **options: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, **options)


def written(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def test_what_is_printed_is_shown_and_logged(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tee_into(log_file):
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert capsys.readouterr() == ("to stdout\n", "to stderr\n")
    assert logged(log_file) == ["to stdout", "to stderr"]


def test_the_streams_stay_the_same_objects_and_are_left_as_they_were(log_file: Path) -> None:
    stream = make_text_stream()
    before = dict(vars(stream)), dict(vars(stream.buffer))
    with tee_into(log_file, stream):
        assert vars(stream) != before[0]
    assert (dict(vars(stream)), dict(vars(stream.buffer))) == before


def test_somebody_elses_cover_is_put_back(log_file: Path) -> None:
    stream = make_text_stream()
    real_write = stream.write
    calls: list[str] = []

    def write(text: str) -> int:
        calls.append(text)
        return real_write(text)

    stream.write = write  # type: ignore[method-assign]
    with tee_into(log_file, stream):
        stream.write("one\n")
    assert stream.write is write
    assert calls == ["one\n"]
    assert logged(log_file) == ["one"]


def test_a_cover_that_somebody_has_put_over_ours_stays_and_ours_does_nothing_any_more(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream):
        ours = stream.write

        def write(text: str) -> int:
            return ours(text.upper())

        stream.write = write  # type: ignore[method-assign]
        stream.write("one\n")
    stream.write("two\n")
    assert written(stream) == b"ONE\nTWO\n"
    assert logged(log_file) == ["ONE"]


def test_one_stream_in_both_places_is_copied_once(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream, stream):
        stream.write("one\n")
    assert logged(log_file) == ["one"]


def test_two_streams_over_one_buffer_are_each_copied_once(log_file: Path) -> None:
    buffer = io.BytesIO()
    streams = [io.TextIOWrapper(buffer, encoding="utf-8", write_through=True) for _ in range(2)]
    with tee_into(log_file, *streams):
        streams[0].write("one\n")
        streams[1].write("two\n")
        buffer.write(b"three\n")
    assert logged(log_file) == ["one", "two", "three"]
    for stream in streams:
        stream.detach()


def test_bytes_are_logged_as_text_once(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream):
        stream.write("text\n")
        stream.flush()
        stream.buffer.write("ü".encode()[:1])
        stream.buffer.write("ü".encode()[1:] + b" \xff\n")
    assert written(stream) == "text\nü ".encode() + b"\xff\n"
    assert logged(log_file) == ["text", "ü \\xff"]


def test_text_that_the_buffer_keeps_back_is_not_logged_again_when_it_is_flushed_or_closed(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream):
        stream.write("one")
        stream.reconfigure(line_buffering=True)
        stream.write("two\n")
        stream.writelines(["three\n", "four\n"])
        stream.close()
    assert logged(log_file) == ["onetwo", "three", "four"]


def test_a_new_wrapper_around_the_buffer_is_logged_as_utf8_where_the_console_knows_ascii_only(log_file: Path) -> None:
    stream = make_text_stream("ascii")
    with tee_into(log_file, stream):
        wrapper = io.TextIOWrapper(stream.buffer, encoding="utf-8", line_buffering=True)
        wrapper.write("für\n")
        wrapper.detach()
    assert logged(log_file) == ["für"]


def test_a_stream_of_another_encoding_is_logged_by_its_text(log_file: Path) -> None:
    stream = make_text_stream("latin-1")
    with tee_into(log_file, stream):
        stream.write("für\n")
        stream.flush()
        stream.buffer.write("für\n".encode("latin-1"))
    assert written(stream) == "für\nfür\n".encode("latin-1")
    assert logged(log_file) == ["für", "für"]


def test_a_stream_refuses_what_it_refuses_without_us(log_file: Path) -> None:
    stream = make_text_stream("ascii")
    with tee_into(log_file, stream):
        with pytest.raises(UnicodeEncodeError):
            stream.write("für\n")
        with pytest.raises(TypeError):
            stream.write(b"bytes")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            stream.buffer.write("text")  # type: ignore[arg-type]


def test_a_closed_stream_raises_as_it_does_without_us(log_file: Path) -> None:
    stream = make_text_stream()
    stream.close()
    with tee_into(log_file, stream), pytest.raises(ValueError, match="closed file"):
        print("one", file=stream)


def test_a_detached_stream_is_left_alone(log_file: Path) -> None:
    stream = make_text_stream()
    stream.detach()
    with tee_into(log_file, stream):
        pass


def test_no_stream_at_all_is_fine(log_file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, open_log(log_file) as log:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        tee = StreamTee(log)
        tee.install()
        print("nobody hears this")
        tee.restore()


def test_a_redirected_stream_gets_what_is_printed_and_the_log_does_not(log_file: Path) -> None:
    elsewhere = io.StringIO()
    with tee_into(log_file):
        with contextlib.redirect_stdout(elsewhere):
            print("elsewhere")
        print("here")
    assert elsewhere.getvalue() == "elsewhere\n"
    assert logged(log_file) == ["here"]


def test_a_stream_that_is_redirected_already_is_the_one_that_is_copied(log_file: Path) -> None:
    elsewhere = io.StringIO()
    with contextlib.redirect_stdout(elsewhere), tee_into(log_file):
        print("one")
    print("two")
    assert elsewhere.getvalue() == "one\n"
    assert logged(log_file) == ["one"]


def test_an_object_with_slots_is_left_alone(log_file: Path) -> None:
    class Slotted:
        __slots__ = ()

        def write(self, text: str) -> int:
            return len(text)

    with tee_into(log_file, Slotted()):
        pass
    assert logged(log_file) == []


def test_a_proxy_is_covered_and_not_what_it_stands_for(log_file: Path) -> None:
    stream = make_text_stream()
    proxy = DummyTqdmFile(stream)  # gives on every attribute that is set on it, and calls back what it stands for
    with tee_into(log_file, proxy):
        assert "write" not in vars(stream)
        proxy.write("one\n")
    assert b"one" in written(stream)
    assert logged(log_file) == ["one"]


def test_a_proxy_that_cannot_be_covered_is_left_alone(log_file: Path) -> None:
    stream = make_text_stream()
    proxy = wrapt.ObjectProxy(stream)
    with tee_into(log_file, proxy):
        proxy.write("one\n")
    assert written(stream) == b"one\n"


def test_a_stream_without_flush_and_buffer_is_copied(log_file: Path) -> None:
    class Minimal:
        text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

    stream = Minimal()
    with tee_into(log_file, stream):
        print("one", file=stream)
    assert stream.text == "one\n"
    assert logged(log_file) == ["one"]


def test_what_the_log_has_already_is_shown_only(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream) as tee:
        tee.without_copy(print, "a record", file=stream)
        print("a line", file=stream)
    assert written(stream) == b"a record\na line\n"
    assert logged(log_file) == ["a line"]


def test_what_one_thread_does_not_copy_another_one_does(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream) as tee:

        def print_from_a_thread() -> None:
            thread = threading.Thread(target=print, args=("of the thread",), kwargs={"file": stream})
            thread.start()
            thread.join()

        tee.without_copy(print_from_a_thread)
    assert logged(log_file) == ["of the thread"]


def test_the_console_keeps_file_number_terminal_and_encoding(log_file: Path) -> None:
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream, tee_into(log_file, stream):
        assert (stream.fileno(), stream.isatty(), stream.encoding) == (terminal, True, "utf-8")
        assert os.get_terminal_size(stream.fileno()) == os.get_terminal_size(controller)
    os.close(controller)


def test_a_notebooks_stream_is_copied(log_file: Path) -> None:
    """Streams of ipykernel are a TextIOBase with a lazy buffer of their own, and no `buffer`."""

    class OutStream(io.TextIOBase):
        encoding = "UTF-8"

        def __init__(self) -> None:
            super().__init__()
            self.text = ""

        def write(self, text: str) -> int:
            if not isinstance(text, str):
                raise TypeError(text)
            self.text += text
            return len(text)

        def flush(self) -> None:
            self.text += "|"

    stream = OutStream()
    with tee_into(log_file, stream):
        print("one", file=stream, flush=True)
    assert stream.text == "one\n|"
    assert logged(log_file) == ["one"]


def test_printing_from_many_threads_loses_nothing(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream):
        threads = [
            threading.Thread(target=lambda name=name: [stream.write(f"{name} {i}\n") for i in range(100)])
            for name in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(logged(log_file)) == sorted(written(stream).decode().splitlines())


def test_a_huge_text_is_logged_whole(log_file: Path) -> None:
    stream = make_text_stream()
    with tee_into(log_file, stream):
        builtins.print("x" * 3_000_000, "y" * 10, sep="\n", file=stream)
    assert [len(line) for line in logged(log_file)] == [3_000_000, 10]
