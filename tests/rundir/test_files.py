"""Atomic writing: a reader finds the old content or the new one, and a failure leaves the old one and nothing else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.rundir import read_document, replace_file, strict_json, write_document
from tests.builders import PROCESS_LIMIT_S, mount_command, run_python


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def fail(number: int) -> Any:
    def raise_error(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return raise_error


def test_a_file_is_made_with_all_of_its_content(working_dir: Path) -> None:
    replace_file(working_dir / "file", b"content")

    assert (working_dir / "file").read_bytes() == b"content"
    assert names_in(working_dir) == ["file"]


def test_a_file_is_replaced_by_shorter_and_longer_content(working_dir: Path) -> None:
    path = working_dir / "file"
    for content in (b"first", b"", b"a longer one" * 100_000):
        replace_file(path, content)
        assert path.read_bytes() == content


def test_who_has_the_old_file_open_keeps_it_whole(working_dir: Path) -> None:
    path = working_dir / "file"
    replace_file(path, b"old")
    with open(path, "rb") as reader:
        replace_file(path, b"new")
        assert reader.read() == b"old"


def test_a_new_file_has_the_rights_of_any_other_one(working_dir: Path) -> None:
    (working_dir / "other").touch()
    replace_file(working_dir / "file", b"")

    assert (working_dir / "file").stat().st_mode == (working_dir / "other").stat().st_mode


def test_what_a_killed_writer_left_is_not_in_the_way(working_dir: Path) -> None:
    path = working_dir / "file"
    for i in range(20):
        (working_dir / f"file.{os.getpid()}-{i}.tmp").touch()
    replace_file(path, b"content")

    assert path.read_bytes() == b"content"


def test_many_threads_may_replace_one_file(working_dir: Path) -> None:
    path = working_dir / "file"
    contents = [bytes([letter]) * 10_000 for letter in range(65, 73)]
    failures: list[BaseException] = []

    def replace(content: bytes) -> None:
        try:
            for _ in range(50):
                replace_file(path, content)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=replace, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert path.read_bytes() in contents
    assert names_in(working_dir) == ["file"]


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("open", errno.ENOSPC),
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("fsync", errno.EIO),
        ("replace", errno.EIO),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    call: str, number: int, working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = working_dir / "file"
    replace_file(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail(number))
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            replace_file(path, b"new", fsync=True)

    assert caught.value.errno == number
    assert path.read_bytes() == b"old"
    assert names_in(working_dir) == ["file"]


def test_a_write_that_takes_a_part_goes_on_with_the_rest(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:3]))
    replace_file(working_dir / "file", b"0123456789")

    assert (working_dir / "file").read_bytes() == b"0123456789"


def test_an_interrupt_leaves_nothing_behind(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            replace_file(working_dir / "file", b"new")

    assert names_in(working_dir) == []


def test_no_descriptor_stays_open(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(Path("/proc/self/fd"))
    replace_file(working_dir / "file", b"content", fsync=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"):
            replace_file(working_dir / "file", b"new")

    assert names_in(Path("/proc/self/fd")) == before


def test_file_and_name_are_synced_only_where_asked_for(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_file(working_dir / "file", b"")
    assert synced == []
    replace_file(working_dir / "file", b"", fsync=True)
    assert [name.partition(".")[0] for name in synced] == ["file", working_dir.name]


FILL_AND_WRITE = """
    import os, sys
    from pathlib import Path
    from pystematic.rundir import read_document, write_document

    folder = Path(sys.argv[1])
    path = folder / "run.json"
    write_document(path, {"status": "running"})
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass
    refused = 0
    for size in (10, 5000, 100_000):
        try:
            write_document(path, {"status": "completed", "text": "x" * size}, fsync=True)
        except OSError as error:
            refused += 1
            print(error.strerror)
        assert read_document(path) == {"status": "running"}, read_document(path)
        assert sorted(os.listdir(folder)) == ["filler", "run.json"], os.listdir(folder)
    (folder / "filler").unlink()
    write_document(path, {"status": "completed"})
    print(read_document(path))
"""


def test_a_full_disk_leaves_the_old_document_and_nothing_else(working_dir: Path) -> None:
    command = mount_command()
    if command is None:
        pytest.skip("nothing can be mounted here; injected errors are tested above")
    (working_dir / "disk").mkdir()
    (working_dir / "write.py").write_text(textwrap.dedent(FILL_AND_WRITE))
    script = f"mount -t tmpfs -o size=64k none disk && exec {sys.executable} write.py disk"
    done = subprocess.run(
        [*command, "sh", "-c", script], capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False
    )

    assert done.stderr == ""
    assert done.stdout == "No space left on device\n" * 3 + "{'status': 'completed'}\n"


READ_FOR_EVER = """
    import sys
    from pystematic.rundir import read_document

    seen = set()
    print("ready", flush=True)
    while True:
        document = read_document(sys.argv[1])
        assert document is not None, "half a document"
        assert set(document["text"]) == {str(document["i"] % 10)}, "two documents in one"
        seen.add(document["i"])
        if document["i"] == -1:
            break
    print(len(seen))
"""


def test_a_reader_in_another_process_never_sees_half_a_document(working_dir: Path) -> None:
    path = working_dir / "run.json"
    write_document(path, {"i": 0, "text": "0" * 10})
    script = working_dir / "read.py"
    script.write_text(textwrap.dedent(READ_FOR_EVER))
    with subprocess.Popen([sys.executable, script, path], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for i in range(1000):
            write_document(path, {"i": i, "text": str(i % 10) * (1 + i % 7 * 5000)})
        write_document(path, {"i": -1, "text": "9"})
        seen = int(reader.stdout.read())
        reader.wait(PROCESS_LIMIT_S)

    assert reader.returncode == 0
    assert seen > 10


def test_a_document_is_strict_json_in_ascii(working_dir: Path) -> None:
    path = working_dir / "document.json"
    write_document(path, {"ü": float("nan"), "list": (1, -0.0, float("-inf"), "\ud800"), "path": Path("x")})
    raw = path.read_bytes()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert raw.isascii()
    assert json.loads(raw, parse_constant=refuse) == {
        "ü": {"special": "nan"},
        "list": [1, -0.0, {"special": "-inf"}, "\ud800"],
        "path": "x",
    }


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text of me")


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        pytest.param(Hostile(), "<Hostile>", id="an object whose text raises"),
        pytest.param({Hostile(): 1}, {"<Hostile>": 1}, id="such a key"),
        pytest.param(10**5000, {"special": hex(10**5000)}, id="a number too long to be spelled"),
        pytest.param({1: {None: True}}, {"1": {"None": True}}, id="keys that are no texts"),
        pytest.param(b"x", "b'x'", id="bytes"),
    ],
)
def test_anything_odd_becomes_text(value: object, plain: object) -> None:
    assert strict_json(value) == plain


def test_an_endless_list_is_written_to_a_depth(working_dir: Path) -> None:
    write_document(working_dir / "document.json", {"list": endless()})

    assert read_document(working_dir / "document.json") is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_strict_json_is_what_every_parser_reads(value: Any) -> None:
    text = json.dumps(strict_json(value), allow_nan=False)

    assert json.dumps(strict_json(json.loads(text))) == text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": 1', b"[1]", b"null", b"\xff\xfe", b"{} {}", b"[" * 100_000, b'{"a":' * 100_000, bytes(100)],
    ids=lambda content: repr(content[:12]),
)
def test_a_damaged_document_is_none(content: bytes, working_dir: Path) -> None:
    (working_dir / "run.json").write_bytes(content)

    assert read_document(working_dir / "run.json") is None


def test_a_missing_document_is_none(working_dir: Path) -> None:
    assert read_document(working_dir / "run.json") is None
    assert read_document(working_dir) is None


def test_a_document_that_cannot_be_written_raises_what_the_system_says(working_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_document(working_dir / "missing" / "run.json", {})


def test_writing_a_document_imports_little() -> None:
    heavy = ["dataclasses", "inspect", "logging", "numpy", "subprocess", "tempfile", "typing", "yaml"]
    code = (
        "import sys; before = set(sys.modules); from pystematic.rundir import write_document;"
        f"write_document('x', {{}}); print([n for n in {heavy} if n in sys.modules and n not in before])"
    )
    assert run_python("-c", code).stdout == "[]\n"
