"""An output folder that cannot be written: full, read-only, not a folder. One clear message, and no half run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from faults._harness import PROCESS_LIMIT_S, CaseError, Ended, Place, expect, last_line, run_dirs

PROGRAM = """
    import pystematic

    @pystematic.parameter(name="text", type=str, default="x" * 3000)
    @pystematic.experiment
    def train(parameters, context):
        for step in range(20):
            context.recorder.scalar("loss", 1.0)
            context.recorder.step()
        print("the main function ran")

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

FULL_SIZES_KIB = (0, 4, 8, 12, 16, 24, 32, 48, 64)

# Where a mount is possible without touching the machine: as root, or as the root of a user namespace of our own.
NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def mount_command() -> list[str] | None:
    for command in NAMESPACES:
        if shutil.which(command[0]):
            probe = "mkdir -p /tmp && mount -t tmpfs none /tmp"
            if subprocess.run([*command, "sh", "-c", probe], capture_output=True, check=False).returncode == 0:
                return command
    return None


def run_shell(place: Place, command: list[str], script: str) -> Ended:
    """Run a script of the shell in the folder of a place, behind a command."""
    done = subprocess.run(
        [*command, "sh", "-c", script],
        cwd=place.folder,
        env=place.env(PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _program(place: Place) -> str:
    program = place.write("prog.py", PROGRAM)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} train --output-dir"


def _judge_refusal(ended: Ended, named: str) -> None:
    expect(ended.code == 1, f"exit code {ended.code}, not 1: {last_line(ended.stderr)}")
    expect("the main function ran" not in ended.stdout, "the main function ran")
    expect("Traceback" not in ended.stderr, f"a traceback: {last_line(ended.stderr)}")
    expect(named in ended.stderr, f"the message does not name the folder: {last_line(ended.stderr)}")
    expect(0 < len(ended.stderr.strip().splitlines()) <= 3, f"not one message: {ended.stderr[-500:]}")


def full_disk(place: Place) -> None:
    """With no byte left nothing starts; with a few left it starts fully or not at all."""
    namespace = mount_command()
    if namespace is None:
        _full_by_limit(place)
        return
    refused = 0
    for size_kib in FULL_SIZES_KIB:
        inner = place.sub(f"left-{size_kib}")
        disk = inner.folder / "disk"
        disk.mkdir()
        script = (
            f"mount -t tmpfs -o size=1m none disk && head -c $((1048576 - {size_kib} * 1024)) /dev/zero > disk/filler"
            f" && {_program(inner)} disk/output; code=$?; cp -r disk/output left 2>/dev/null; exit $code"
        )
        ended = run_shell(inner, namespace, script)
        left = inner.folder / "left"
        try:
            if "the main function ran" in ended.stdout:
                expect(ended.code == 0, f"it ran, and ended with {ended.code}: {last_line(ended.stderr)}")
                expect("Traceback" not in ended.stderr, f"it ran, with a traceback: {last_line(ended.stderr)}")
                expect(len(run_dirs(left)) == 1, f"it ran and left {run_dirs(left)}")
            else:
                refused += 1
                _judge_refusal(ended, "disk/output")
                half = [str(path.relative_to(left)) for path in left.rglob("*") if path.is_file()]
                expect(not half and not run_dirs(left), f"a half run is left: {half or run_dirs(left)}")
        except CaseError as failure:
            raise CaseError(f"with {size_kib} KiB left: {failure}") from None
    expect(refused > 0, "a full disk was never noticed")


def full_of_inodes(place: Place) -> None:
    namespace = mount_command()
    if namespace is None:
        _full_by_limit(place)
        return
    for spare in (0, 1, 2, 3):
        inner = place.sub(f"spare-{spare}")
        (inner.folder / "disk").mkdir()
        script = (
            f"mount -t tmpfs -o size=1m,nr_inodes={1 + spare} none disk"
            f" && {_program(inner)} disk/output; code=$?; cp -r disk/output left 2>/dev/null; exit $code"
        )
        ended = run_shell(inner, namespace, script)
        try:
            _judge_refusal(ended, "disk/output")
            expect(not run_dirs(inner.folder / "left"), f"a half run is left: {run_dirs(inner.folder / 'left')}")
        except CaseError as failure:
            raise CaseError(f"with {spare} inodes left: {failure}") from None


def _full_by_limit(place: Place) -> None:
    """Without the right to mount: no file may grow beyond 0 bytes."""
    ended = run_shell(place, ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh"], f"{_program(place)} output")
    _judge_refusal(ended, "output")
    expect(not run_dirs(place.output_dir), f"a half run is left: {run_dirs(place.output_dir)}")


def _without_root_rights() -> list[str]:
    """Return a command that takes root's right to write anywhere; nothing for others, who have none."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise CaseError("needs the right to mount, or setpriv")
    return ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"]


def read_only_folder(place: Place) -> None:
    folder = place.output_dir
    folder.mkdir()
    namespace = mount_command()
    if namespace is not None:
        script = f"mount --bind output output && mount -o remount,bind,ro output && {_program(place)} output"
        ended = run_shell(place, namespace, script)
    else:
        folder.chmod(0o555)
        ended = run_shell(place, _without_root_rights(), f"{_program(place)} output")
        folder.chmod(0o755)
    _judge_refusal(ended, "output")
    expect(list(folder.iterdir()) == [], f"left: {list(folder.iterdir())}")


def forbidden_folder(place: Place) -> None:
    """The same by permissions, for the folder and for one that would have to be made inside it."""
    folder = place.output_dir
    folder.mkdir()
    folder.chmod(0o555)
    for output_dir in ("output", "output/inside/deeper"):
        ended = run_shell(place, _without_root_rights(), f"{_program(place)} {output_dir}")
        _judge_refusal(ended, output_dir)
        expect(list(folder.iterdir()) == [], f"left: {list(folder.iterdir())}")
    folder.chmod(0o755)


def output_dir_is_a_file(place: Place) -> None:
    place.write("output", "a file\n")
    for output_dir in ("output", "output/inside"):
        ended = run_shell(place, [], f"{_program(place)} {output_dir}")
        _judge_refusal(ended, "output")
    expect(Path(place.folder / "output").read_text() == "a file\n", "the file was changed")
