"""How real programs start: what refuses, what is loaded, and how long the main function is kept waiting."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.builders import HELLO_PROGRAM, make_repository, run_python, write_program
from tests.process.builders import run_on_small_disk
from tests.run.builders import only_run

# Each costs more to import than the budget of a run's start has left for it.
HEAVY = {
    *("typing", "dataclasses", "inspect", "logging", "subprocess", "argparse", "importlib.metadata", "asyncio"),
    *("shutil", "tempfile", "hashlib", "random", "datetime", "traceback", "multiprocessing", "concurrent", "socket"),
    *("numpy", "torch", "pandas", "yaml", "wrapt", "psutil", "rich", "tqdm", "platform", "contextlib", "pdb", "ctypes"),
}


def test_a_plain_run_loads_nothing_heavy(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        HELLO_PROGRAM.replace(
            "if __name__",
            "import atexit, sys\n    atexit.register(lambda: print(sorted(sys.modules)))\n\n    if __name__",
        ),
    )
    command = ("-S", "-c", WITHOUT_SITE.format(paths=sys.path, program=str(program)))
    run_python(*command, cwd=working_dir)  # what is found once for these paths is in its cache then
    done = run_python(*command, cwd=working_dir)
    assert done.returncode == 0, done.stderr
    loaded = set(eval(done.stdout.splitlines()[-1]))
    assert "pystematic.run._lifecycle" in loaded
    assert loaded & HEAVY == set()


# Without the site module: files of installed packages in it import whatever they like.
WITHOUT_SITE = """
import sys
sys.path[:] = {paths!r}
sys.argv = [{program!r}, "train"]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"), {{"__name__": "__main__", "__file__": sys.argv[0]}})
"""


@pytest.mark.parametrize("output_dir", ["file", "file/inside"])
def test_an_output_folder_that_is_a_file_is_one_message_and_no_half_run(working_dir: Path, output_dir: str) -> None:
    (working_dir / "file").touch()
    program = write_program(working_dir)
    done = run_python(program, "train", "--output-dir", output_dir, cwd=working_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"pystematic: the output folder '{output_dir}' cannot be written: Not a directory. "
        "A part of its path is a file: rename that, or give another one: --output-dir.\n"
    )


@pytest.mark.parametrize("left_kib", [0, 4, 8, 12])
def test_on_a_full_disk_a_run_starts_whole_or_not_at_all(working_dir: Path, left_kib: int) -> None:
    program = write_program(working_dir)
    fill = f"head -c $((256 * 1024 - {left_kib} * 1024)) /dev/zero > disk/filler 2>/dev/null"
    command = f"{shlex.quote(sys.executable)} {program} train --output-dir disk/output"
    script = f"{fill}; {command}; code=$?; cp -r disk/output left 2>/dev/null; exit $code"
    done = run_on_small_disk(script, cwd=working_dir, size_kib=256)
    if done.stdout:
        assert done.returncode == 0
        assert only_run(working_dir / "left").status == "completed"
        return
    assert done.returncode == 1
    assert done.stderr.startswith("pystematic: the output folder ")
    assert done.stderr.count("\n") == 1
    assert not [path for path in (working_dir / "left").rglob("*") if path.is_file()]


def test_a_read_only_folder_is_one_message(working_dir: Path) -> None:
    program = write_program(working_dir)
    command = f"{shlex.quote(sys.executable)} {program} train --output-dir disk/output"
    done = run_on_small_disk(f"mount -o remount,ro disk; {command}", cwd=working_dir, size_kib=64)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "pystematic: the output folder 'disk/output' cannot be written: Read-only file system. "
    )
    assert done.stderr.endswith(" or give another one: --output-dir.\n")
    assert done.stderr.count("\n") == 1


def test_the_main_function_does_not_wait_for_a_slow_repository(working_dir: Path, tmp_path: Path) -> None:
    repository = make_repository(working_dir / "repository", {"prog.py": "x = 1\n"})
    write_program(
        repository,
        """
        import os
        import pystematic

        @pystematic.experiment
        def train():
            with open(os.environ["BEGUN"], "w") as pipe:  # git answers only then
                pipe.write("begun")

        train.cli()
        """,
    )
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "git"
    wait = '[ -e "$BEGUN.read" ] || { read line < "$BEGUN"; touch "$BEGUN.read"; }'
    slow.write_text(f'#!/bin/sh\n{wait}\nPATH="{os.environ["PATH"]}" exec git "$@"\n', encoding="utf-8")
    slow.chmod(0o755)
    os.mkfifo(tmp_path / "begun")
    env = {"PATH": f"{slow.parent}:{os.environ['PATH']}", "BEGUN": str(tmp_path / "begun")}
    done = run_python("prog.py", cwd=repository, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    run = only_run(repository / "output")
    assert len(run.document["code"]) == 64
    assert "+import pystematic\n" in run.patch
