"""The console looks as if we were not there, and the log has what it showed: real programs, pipes and terminals."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import PROCESS_LIMIT_S, run_python, wait_until, write_program
from tests.process.builders import run_on_terminal
from tests.run.builders import logged, only_run

IMPORTS = "import contextlib, ctypes, io, logging, os, subprocess, sys, threading, warnings"


def write_plain(folder: Path, *body: str) -> Path:
    """Write a program that does something without us."""
    lines = [IMPORTS, "def main():", *(f"    {line}" for line in body), "main()"]
    return write_program(folder, "\n".join(lines) + "\n")


def write_experiment(folder: Path, *body: str, before: str = "") -> Path:
    """Write the same program as an experiment."""
    lines = [IMPORTS, "def main():", *(f"    {line}" for line in body), "import pystematic"]
    lines += ["@pystematic.experiment", "def train():", "    main()", before, "train.cli()"]
    return write_program(folder, "\n".join(lines) + "\n")


# What programs do on a console, each with lines that are in the log then.
BODIES = {
    "prints": (
        ["print('one')", "print('two', file=sys.stderr)", "print('three', end='')"],
        ["one", "two", "three"],
    ),
    "facts": (
        [
            "for s in (sys.stdout, sys.stderr):",
            "    print(s.isatty(), s.fileno(), s.encoding, s.errors, s.line_buffering, file=s)",
        ],
        [],
    ),
    "width": (["import shutil", "print(os.environ.get('COLUMNS'), shutil.get_terminal_size())"], []),
    "colours": (
        ["print('\\x1b[31mred\\x1b[0m' if sys.stdout.isatty() else 'plain')", "print('\\x1b[1mbold\\x1b[0m')"],
        ["bold"],
    ),
    "bytes": (["print('text', flush=True)", "sys.stdout.buffer.write('für\\n'.encode())"], ["text", "für"]),
    "logging": (["logging.info('news')", "logging.warning('careful')"], ["INFO root: news"]),
    "warning": (["warnings.simplefilter('always')", "warnings.warn('old')"], []),
    "redirected": (
        ["f = io.StringIO()", "with contextlib.redirect_stdout(f):", "    print('hidden')", "print(len(f.getvalue()))"],
        ["7"],
    ),
    "threads": (
        ["for i in range(3):", "    t = threading.Thread(target=print, args=(i,))", "    t.start()", "    t.join()"],
        ["0", "1", "2"],
    ),
    "a thread that fails": (
        ["t = threading.Thread(target=lambda: 1 / 0)", "t.start()", "t.join()"],
        ["ZeroDivisionError: division by zero"],
    ),
    "huge": (["print('x' * 300_000)", "print('after')"], ["x" * 300_000, "after"]),
    "unraisable": (
        ["class A:", "    def __del__(self): raise ValueError('in del')", "A()"],
        ["ValueError: in del"],
    ),
    "a wrapper of its own": (
        [
            "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8', line_buffering=True)",
            "print('für')",
            "sys.stdout.flush()",
        ],
        ["für"],
    ),
    "tqdm": (
        [
            "from tqdm import tqdm",
            "for i in tqdm(range(3), mininterval=0, miniters=1, ncols=40, bar_format='{percentage:3.0f}%'):",
            "    tqdm.write(f'step {i}')",
        ],
        ["step 0", "step 1", "step 2", "100%"],
    ),
    "rich": (["import rich.console", "rich.console.Console().print('[bold]bold[/bold]', 'x ' * 60)"], []),
}


def run_piped(*args: str | Path, cwd: Path) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("capture", ["sys", "fd"])
@pytest.mark.parametrize("run", [run_piped, run_on_terminal])
@pytest.mark.parametrize("what", BODIES)
def test_a_console_gets_the_same_bytes_with_and_without_us(
    working_dir: Path, what: str, run: Callable[..., tuple[object, ...]], capture: str
) -> None:
    body, lines = BODIES[what]
    write_plain(working_dir, *body)
    expected = run("prog.py", cwd=working_dir)
    write_experiment(working_dir, *body)
    found = run("prog.py", "--capture", capture, cwd=working_dir)
    assert _without_addresses(found) == _without_addresses(expected)
    in_log = logged(Path(only_run(working_dir / "output").dir.log_file()))
    assert [line for line in in_log if line in lines] == lines


def _without_addresses(found: tuple[object, ...]) -> list[object]:
    """Return what a console got without the addresses of objects, which two processes do not share."""
    return [re.sub(rb"0x[0-9a-f]+", b"0x", part) if isinstance(part, bytes) else part for part in found]


def test_a_warning_is_shown_the_same_way_without_capture(working_dir: Path) -> None:
    write_plain(working_dir, "print('one')", "warnings.warn('old')")
    expected = run_piped("prog.py", cwd=working_dir)
    write_experiment(working_dir, "print('one')", "warnings.warn('old')")
    assert run_piped("prog.py", "--capture", "off", cwd=working_dir) == expected


@pytest.mark.parametrize(
    "encoding", ["latin-1", "ascii", "ascii:backslashreplace", "utf-16", "cp1252:replace", "utf-8:surrogateescape"]
)
def test_streams_of_other_encodings_get_the_same_bytes(working_dir: Path, encoding: str) -> None:
    body = ("print('a')", "print('für \\u20ac')")
    plain = write_plain(working_dir, *body).rename(working_dir / "plain.py")
    program = write_experiment(working_dir, *body)
    results = [
        subprocess.run(
            [sys.executable, name],
            cwd=working_dir,
            env={"PYTHONIOENCODING": encoding, "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(working_dir / "cache")},
            capture_output=True,
            timeout=PROCESS_LIMIT_S,
            check=False,
        )
        for name in (plain, program)
    ]
    assert results[0].stdout == results[1].stdout
    assert results[0].returncode == results[1].returncode
    assert "a" in logged(Path(only_run(working_dir / "output").dir.log_file()))


@pytest.mark.parametrize(
    "before", ["sys.stdout = None", "sys.stderr = None", "sys.stdout = sys.stderr = None", "sys.stdout.close()"]
)
@pytest.mark.parametrize("capture", ["sys", "fd"])
def test_streams_that_are_none_or_closed_are_no_obstacle(working_dir: Path, before: str, capture: str) -> None:
    program = write_experiment(
        working_dir, "logging.getLogger('x').info('news')", before=f"{before}; os.write(1, b'raw\\n')"
    )
    done = run_python(program, "--capture", capture, cwd=working_dir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "raw\n", "")
    lines = logged(Path(only_run(working_dir / "output").dir.log_file()))
    assert lines[1:] == ["INFO x: news", "completed, exit code 0"]


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("capture", ["sys", "fd", "off"])
def test_descriptors_that_are_closed_are_no_obstacle(working_dir: Path, closed: str, capture: str) -> None:
    write_experiment(working_dir, "print('one') if sys.stdout else None")
    command = f'exec "$0" prog.py --capture {capture} {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], cwd=working_dir, timeout=PROCESS_LIMIT_S, check=False)
    assert done.returncode == 0
    run = only_run(working_dir / "output")
    assert run.status == "completed"
    assert logged(Path(run.dir.log_file()))[-1] == "completed, exit code 0"


def test_c_code_and_children_are_in_the_log_of_fd_only(working_dir: Path) -> None:
    write_experiment(
        working_dir,
        "libc = ctypes.CDLL(None)",
        "libc.printf(b'by printf\\n')",
        "libc.fflush(None)",
        "os.write(2, b'by os.write\\n')",
        "subprocess.run(['echo', 'by a child'], check=True)",
    )
    lines = {"by printf", "by os.write", "by a child"}
    for capture, expected in (("fd", lines), ("sys", set())):
        output_dir = working_dir / capture
        done = run_python("prog.py", "--capture", capture, "--output-dir", output_dir, cwd=working_dir)
        assert (done.stdout, done.stderr) == ("by printf\nby a child\n", "by os.write\n")
        assert set(logged(Path(only_run(output_dir).dir.log_file()))) & lines == expected


@pytest.mark.parametrize("capture", ["sys", "fd"])
def test_a_crash_keeps_its_last_words_and_its_stack(working_dir: Path, capture: str) -> None:
    write_experiment(working_dir, "print('last words', flush=True)", "ctypes.string_at(0)")
    done = run_python("prog.py", "--capture", capture, cwd=working_dir)
    assert (done.returncode, done.stdout) == (-11, "last words\n")
    run = only_run(working_dir / "output")
    assert run.status == "lost"
    log = Path(run.dir.log_file())
    wait_until(lambda: " last words\n" in log.read_text(encoding="utf-8"))
    text = log.read_text(encoding="utf-8")
    assert "Fatal Python error: Segmentation fault" in text
    assert 'prog.py", line 4 in main' in text
    assert done.stderr == ""


def test_a_crash_report_that_was_asked_for_is_in_the_log(working_dir: Path) -> None:
    write_experiment(working_dir, "ctypes.string_at(0)")
    for capture in ("sys", "fd"):
        output_dir = working_dir / capture
        args = ("-X", "faulthandler", "prog.py", "--capture", capture, "--output-dir", output_dir)
        done = run_python(*args, cwd=working_dir)
        log = Path(only_run(output_dir).dir.log_file())
        wait_until(lambda log=log: "Segmentation fault" in log.read_text(encoding="utf-8"))  # type: ignore[misc]
        assert ("Segmentation fault" in done.stderr) == (capture == "fd")


@pytest.mark.parametrize("capture", ["sys", "fd"])
def test_a_reader_that_stops_reading_ends_the_program_as_it_would_without_us(working_dir: Path, capture: str) -> None:
    write_experiment(working_dir, "for i in range(20_000): print(i)")
    done = subprocess.run(
        ["sh", "-c", f'"$0" prog.py --capture {capture} | head -n 1', sys.executable],
        cwd=working_dir, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=True,
    )  # fmt: skip
    assert done.stdout == "0\n"
    # Behind the other process of fd nobody learns that the reader has gone.
    assert only_run(working_dir / "output").status == ("failed" if capture == "sys" else "completed")
    assert ("BrokenPipeError" in done.stderr) == (capture == "sys")
