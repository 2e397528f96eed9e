"""``--capture fd``: C code and children are logged too, by a process that stands in between."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystematic.errors import ExperimentError
from pystematic.run._descriptors import DescriptorCapture, is_captured
from tests.builders import PROCESS_LIMIT_S, run_python, wait_until, write_program
from tests.run.builders import logged


@contextlib.contextmanager
def capture(log_file: Path, secrets: tuple[str, ...] = ()) -> Iterator[DescriptorCapture]:
    captured = DescriptorCapture(str(log_file), secrets)
    captured.install()
    try:
        yield captured
    finally:
        captured.restore()


def open_descriptors() -> set[str]:
    """Return the open descriptors, with what each leads to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
    return found


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def test_python_c_code_and_children_are_shown_and_logged(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with capture(log_file):
        os.write(1, b"by os.write\n")
        libc.printf(b"by printf\n")
        libc.fflush(None)
        subprocess.run(["sh", "-c", "echo by a child; echo on stderr >&2"], check=True)
    out, err = capfd.readouterr()
    assert out == "by os.write\nby printf\nby a child\n"
    assert err == "on stderr\n"
    assert sorted(logged(log_file)) == ["by a child", "by os.write", "by printf", "on stderr"]


def test_everything_is_put_back(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = open_descriptors()
    with capture(log_file):
        assert open_descriptors() != before
    assert open_descriptors() == before
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"
    assert logged(log_file) == []


def test_more_than_a_pipe_holds_at_once(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = b"".join(b"%06d\n" % i for i in range(100_000))
    with capture(log_file):
        view = memoryview(text)
        while view:
            view = view[os.write(1, view) :]
    assert capfd.readouterr().out.encode() == text
    assert logged(log_file) == text.decode().splitlines()


def test_characters_that_are_cut_and_bytes_that_are_none(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capture(log_file):
        os.write(1, "ü".encode()[:1])
        os.write(1, "ü".encode()[1:] + b"\xff\nno newline")
    assert logged(log_file) == ["ü\\xff", "no newline"]
    capfd.readouterr()


def test_secrets_are_masked_in_the_log_only(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capture(log_file, ("hunter2-hunter2",)):
        os.write(1, b"the password is hunter2-hunter2\n")
    assert capfd.readouterr().out == "the password is hunter2-hunter2\n"
    assert logged(log_file) == ["the password is <masked>"]


def test_a_child_that_writes_on_does_not_keep_us_waiting(log_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with capture(log_file) as captured:
        drain = captured._pid
        assert drain is not None
        child = subprocess.Popen(["sh", "-c", "echo before; read line; echo after"], stdin=subprocess.PIPE)
        wait_until(lambda: log_file.exists() and logged(log_file) == ["before"])
        os.write(1, b"our last words\n")
    assert logged(log_file) == ["before", "our last words"]
    child.communicate(b"\n", timeout=PROCESS_LIMIT_S)
    os.waitpid(drain, 0)
    assert logged(log_file) == ["before", "our last words", "after"]
    assert capfd.readouterr().out == "before\nour last words\nafter\n"


def test_a_forked_child_that_puts_the_console_back_does_not_wait(
    log_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture(log_file) as captured:
        pid = os.fork()
        if pid == 0:
            os.write(1, b"of the child\n")
            captured.restore()
            os.write(1, b"past the log\n")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.write(1, b"of the parent\n")
    assert logged(log_file) == ["of the child", "of the parent"]
    capfd.readouterr()


@pytest.mark.parametrize("executable", ["/nowhere/python", "", None])
def test_a_process_that_cannot_be_started_changes_nothing(
    log_file: Path, executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_descriptors()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(ExperimentError) as caught:
        DescriptorCapture(str(log_file), ()).install()
    assert str(caught.value) == (
        "--capture fd: the draining process cannot be started: No such file or directory. "
        "Use --capture sys or off, or try again."
    )
    assert open_descriptors() == before


def test_a_stream_is_captured_when_it_leads_to_the_console() -> None:
    with open(1, "w", closefd=False) as console:
        assert is_captured(console)
    assert not is_captured(None)
    assert not is_captured(object())


# -- in processes of their own: what is at descriptors 1 and 2 matters ------------------------------------------------

PROGRAM = """
    import os, sys
    from pystematic.run._descriptors import DescriptorCapture

    captured = DescriptorCapture("log.txt", ())
    captured.install()
    {body}
    captured.restore()
"""


def write(folder: Path, body: str) -> Path:
    return write_program(folder, PROGRAM.format(body=body))


def test_the_order_of_the_two_streams_of_one_console_is_kept(working_dir: Path) -> None:
    program = write(working_dir, "[os.write(1 + i % 2, b'%d\\n' % i) for i in range(1000)]")
    shown = subprocess.run(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, timeout=PROCESS_LIMIT_S
    ).stdout
    assert shown.decode().splitlines() == [str(i) for i in range(1000)]
    assert logged(working_dir / "log.txt") == [str(i) for i in range(1000)]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_console_that_is_closed_stays_so(working_dir: Path, closed: str) -> None:
    program = write(working_dir, "[os.write(fd, b'%d\\n' % fd) for fd in captured._saved]")
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$1" {closed}', sys.executable, str(program)],
        capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    open_ones = ["1"] * ("1" not in closed and not closed.startswith((">", "<"))) + ["2"] * ("2>" not in closed)
    assert done.stdout.split() + done.stderr.split() == open_ones
    assert logged(working_dir / "log.txt") == open_ones


def test_a_console_that_is_gone_does_not_end_the_log(working_dir: Path) -> None:
    program = write(working_dir, "[os.write(1, b'line %d\\n' % i) for i in range(50_000)]")
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} {program} | head -n 1"],
        capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=True,
    )  # fmt: skip
    assert done.stdout == "line 0\n"
    assert len(logged(working_dir / "log.txt")) == 50_000


def test_a_crash_keeps_its_last_words(working_dir: Path) -> None:
    program = write(working_dir, "os.write(1, b'last words'); os.kill(os.getpid(), 11)")
    done = run_python(program, cwd=working_dir)
    assert done.returncode == -signal.SIGSEGV
    wait_until(lambda: logged(working_dir / "log.txt") == ["last words"])
    assert done.stdout == "last words"


def test_signals_for_the_whole_group_do_not_end_the_log(working_dir: Path) -> None:
    body = (
        "import signal; [signal.signal(n, lambda *a: None) for n in (2, 15, 1, 3)]; "
        "[os.killpg(0, n) for n in (2, 15, 1, 3)]; os.write(1, b'still here\\n')"
    )
    program = write(working_dir, body)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=PROCESS_LIMIT_S, start_new_session=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\n", "")
    assert logged(working_dir / "log.txt") == ["still here"]


def test_many_open_files_are_no_obstacle(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        files = [open(os.devnull) for _ in range(1500)]
        from pystematic.run._descriptors import DescriptorCapture
        captured = DescriptorCapture("log.txt", ())
        captured.install()
        os.write(1, b"one\\n")
        captured.restore()
        """,
    )
    done = run_python("-W", "ignore", program, cwd=working_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert logged(working_dir / "log.txt") == ["one"]


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_a_terminal_stays_one_with_its_width_and_later_widths(working_dir: Path) -> None:
    body = (
        "import threading; never = threading.Event(); "
        "print(os.isatty(1), os.isatty(2), os.get_terminal_size(1).columns, flush=True); "
        "os.read(0, 1); "
        "is_new = lambda: os.get_terminal_size(1).columns == 50; "
        "[never.wait(0.01) for _ in range(1000) if not is_new()]; "
        "print(os.get_terminal_size(1).columns, '\\x1b[31mred\\x1b[0m', flush=True)"
    )
    program = write(working_dir, body)
    controller, terminal = os.openpty()
    set_size(terminal, 20, 77)

    def become_leader() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=terminal, stderr=terminal, preexec_fn=become_leader
    ) as process:
        os.close(terminal)
        shown = b""
        while b"\n" not in shown:
            shown += os.read(controller, 1000)
        set_size(controller, 20, 50)
        assert process.stdin is not None
        process.stdin.write(b".")
        process.stdin.close()
        assert process.wait(PROCESS_LIMIT_S) == 0
    while shown.count(b"\n") < 2:
        shown += os.read(controller, 1000)
    os.close(controller)
    assert shown == b"True True 77\r\n50 \x1b[31mred\x1b[0m\r\n"
    assert logged(working_dir / "log.txt") == ["True True 77", "50 red"]
