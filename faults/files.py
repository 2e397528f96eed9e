"""Files and names that try to do more than they may: run code, leave the output folder."""

from __future__ import annotations

from pathlib import Path

from faults._harness import Place, expect, last_line, run_dirs

PROGRAM = """
    import pystematic

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3)
    @pystematic.parameter(name="name", type=str, default="x")
    @pystematic.experiment
    def train(parameters, context):
        print("ran with", parameters["name"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

# Each would make the file "proof" if anything in it were carried out.
EVIL_YAML = (
    "name: !!python/object/apply:os.system ['touch proof']\n",
    "!!python/object/apply:os.system ['touch proof']\n",
    "name: !!python/object/new:os.system [touch proof]\n",
    "name: !!python/object/apply:subprocess.check_call [[touch, proof]]\n",
    "name: !!python/object/apply:builtins.eval [\"open('proof', 'w')\"]\n",
    "name: !!python/object/apply:builtins.exec\n  args: [\"open('proof', 'w')\"]\n",
    "name: !!python/name:os.system touch\n",
    "name: !!python/module:proof_module\n",
    "name: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch proof']\n",
    "%TAG !p! tag:yaml.org,2002:python/\n---\nname: !p!object/apply:os.system ['touch proof']\n",
    "!!python/object/apply:os.system ['touch proof']: 1\n",
    "name: !!python/object/new:pathlib.Path\n  state: !!python/object/apply:os.system ['touch proof']\n",
)


def code_in_params_file(place: Place) -> None:
    program = place.write("prog.py", PROGRAM)
    place.write("proof_module.py", "open('proof', 'w')\n")
    proof = place.folder / "proof"
    for i, text in enumerate(EVIL_YAML):
        evil = place.write(f"evil-{i}.yaml", text)
        ended = place.run(program, "train", "--params-file", evil)
        expect(not proof.exists(), f"code was run by {text!r}")
        expect(ended.code == 2, f"{text!r} ended with {ended.code}: {last_line(ended.stderr)}")
        expect(evil.name in ended.stderr, f"the message does not name the file: {last_line(ended.stderr)}")
        expect("Traceback" not in ended.stderr, f"{text!r} gives a traceback: {last_line(ended.stderr)}")
    expect(run_dirs(place.output_dir) == [], "a run was made in spite of the refused file")


def code_in_recorded_parameters(place: Place) -> None:
    """A run directory from elsewhere is read by every command; none of them may run what it holds."""
    program = place.write("prog.py", PROGRAM)
    place.write("proof_module.py", "open('proof', 'w')\n")
    proof = place.folder / "proof"
    ended = place.run(program, "train")
    expect(ended.code == 0, f"the run ended with {ended.code}: {last_line(ended.stderr)}")
    [run_dir] = run_dirs(place.output_dir)
    for text in EVIL_YAML:
        (run_dir / "parameters.yaml").write_text(text, encoding="utf-8")
        for argv in (
            ["-m", "pystematic", "ls"],
            ["-m", "pystematic", "show", "last"],
            ["-m", "pystematic", "rerun", "last"],
            [str(program), "train", "--params-file", "last"],
        ):
            ended = place.run(*argv)
            expect(not proof.exists(), f"code was run by {argv[:3]} with {text!r}")
            expect("Traceback" not in ended.stderr, f"{argv[:3]} with {text!r}: {last_line(ended.stderr)}")


def yaml_bomb(place: Place) -> None:
    """Nested aliases that stand for 10^10 items are refused or read at once, not expanded."""
    program = place.write("prog.py", PROGRAM)
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    bomb = place.write("bomb.yaml", "\n".join([*levels, "name: *a9", ""]))
    ended = place.run(program, "train", "--params-file", bomb)
    expect(ended.code == 2, f"exit code {ended.code}: {last_line(ended.stderr)}")
    expect(len(ended.stderr) < 10_000, f"the message has {len(ended.stderr)} characters")


TRAVERSAL_PROGRAM = """
    import sys
    from pathlib import Path
    import pystematic

    NAMES = {"dots": "../escaped", "deep": "a/../../escaped", "absolute": str(Path("escaped").absolute()),
             "nul": "esc\\0aped", "dot": "..", "separator": "a/b", "backslash": "..\\\\escaped", "empty": "",
             "newline": "a\\nb", "long": "n" * 300}

    def train(parameters, context):
        print("ran")

    try:
        train = pystematic.experiment(name=NAMES[sys.argv[1]])(train)
    except pystematic.core.Error as error:
        print(error)
        sys.exit(2)
    train.run({"output_dir": "output"})
"""


def path_traversal(place: Place) -> None:
    program = place.write("prog.py", TRAVERSAL_PROGRAM)
    before = _files(place.folder)
    for name in ("dots", "deep", "absolute", "nul", "dot", "separator", "backslash", "empty", "newline", "long"):
        ended = place.run(program, name)
        new = sorted(
            path for path in _files(place.folder) - before if not path.startswith(("output", ".process", "cache"))
        )
        expect(not new, f"experiment name {name!r} made {new}")
        outside = [path for path in run_dirs(place.output_dir) if not path.resolve().is_relative_to(place.output_dir)]
        expect(not outside, f"experiment name {name!r} made {outside}")
        if name in ("dots", "deep", "absolute", "nul", "dot", "separator", "empty"):
            expect(ended.code != 0, f"experiment name {name!r} was taken")
            expect(not run_dirs(place.output_dir), f"experiment name {name!r} made {run_dirs(place.output_dir)}")
            last = last_line(ended.stdout + ended.stderr)
            expect("Error" not in last or "pystematic" in last or "experiment" in last, f"{name!r}: {last}")


def symlinked_experiment(place: Place) -> None:
    """A link in place of the experiment's folder must not lead runs out of the output folder."""
    program = place.write("prog.py", PROGRAM)
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    place.output_dir.mkdir()
    (place.output_dir / "train").symlink_to(elsewhere, target_is_directory=True)
    ended = place.run(program, "train")
    expect(not list(elsewhere.iterdir()), "a run was made outside the output folder")
    expect(ended.code == 1, f"exit code {ended.code}: {last_line(ended.stderr)}")
    expect("Traceback" not in ended.stderr, f"a traceback: {last_line(ended.stderr)}")
    expect("train" in ended.stderr, f"the message does not name the folder: {last_line(ended.stderr)}")


def run_names_that_lead_out(place: Place) -> None:
    """A run asked for by a name that is a path out of the output folder is found as a path or not at all."""
    place.write("prog.py", PROGRAM)
    expect(place.run("prog.py", "train").code == 0, "the run failed")
    secret = place.folder / "private"
    secret.mkdir()
    (secret / "parameters.yaml").write_text("name: private text\n", encoding="utf-8")
    for text in ("../private", "..", ".", "/", "train/../../private", "\u0000"[:0], "~", "*", "last~99", "last~-1"):
        ended = place.pystematic("show", text)
        expect(ended.code == 2, f"pystematic show {text!r} ended with {ended.code}: {last_line(ended.stderr)}")
        expect("Traceback" not in ended.stderr, f"pystematic show {text!r}: {last_line(ended.stderr)}")


def damaged_documents(place: Place) -> None:
    """Each file of a run emptied, cut, filled with other bytes, or replaced by a folder: the commands go on."""
    program = place.write("prog.py", PROGRAM)
    for _ in range(2):
        expect(place.run(program, "train").code == 0, "the run failed")
    damaged, whole = run_dirs(place.output_dir)
    documents = [path for path in sorted(damaged.iterdir()) if path.is_file()]
    expect(len(documents) >= 3, f"only {[path.name for path in documents]} were left")
    for path in documents:
        content = path.read_bytes()
        for other in (b"", content[: len(content) // 2], b"\xff\xfe\x00", b"[1, 2]\n", b"null\n", b"{}\n", None):
            path.unlink()
            if other is None:
                path.mkdir()
            else:
                path.write_bytes(other)
            for argv in (["ls", "--output", "json"], ["show", str(damaged)], ["diff", str(damaged), str(whole)]):
                ended = place.pystematic(*argv)
                what = f"{path.name} as {other!r:.20}"
                expect("Traceback" not in ended.stderr, f"{argv[0]} with {what}: {last_line(ended.stderr)}")
                if argv[0] == "ls":
                    expect(ended.code == 0, f"ls with {what} ended with {ended.code}: {last_line(ended.stderr)}")
                    expect(whole.name in ended.stdout, f"ls with {what} does not list the other run")
        path.rmdir()
        path.write_bytes(content)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
