"""Markdown pages and their code blocks, run as a reader would run them: top to bottom, in one empty folder a page.

What a block is, its language says:

- ``console``: lines with ``$ `` are typed into bash, one shell for the whole block; a ``\\`` at the end goes on in the
  next line. Below a command stands what it prints; where nothing stands there, nothing is compared. A command that
  fails must be followed by ``$ echo $?``.
- ``python``: run by this interpreter. One that begins with a comment such as ``# digits.py`` is that file instead, and
  a later block must use it.
- ``pycon``: a session of the interpreter with its output, as doctest reads it (``...`` is any text).
- ``yaml``, ``toml``, ``json``: a file, named in a comment on the first line or by a mark; a later block must use it.
- ``json`` without a name: shown only; it must be JSON, as a whole or each line.

Anything else cannot be run, and says why. Such marks are HTML comments, each in a line of its own above the block:

- ``<!-- not run: REASON -->``: the block is left alone.
- ``<!-- run if there is: COMMAND -->``: the block is left alone on a machine without the command.
- ``<!-- file: NAME -->``: the block is that file, where it cannot hold a comment.
- ``<!-- run: COMMAND -->``: bash runs the command; for what a reader need not see. It stands anywhere.

In the shown output of ``console`` blocks:

- ``...`` is any text, a line of it alone any number of lines;
- two or more spaces are as many as there are, and a line's last spaces do not count;
- a run id stands for one run: when it is first shown, the real one is learnt, and takes its place (the six letters at
  its end too) in every later command and output of the page;
- a time (``2026-01-31 12:00:00``, with milliseconds or in ISO 8601) and a duration (``0.4s``) are any of their kind.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LIMIT_S = 60.0

HIDDEN = "(run)"  # the language of the command in a mark
FILE_LANGUAGES = ("json", "python", "toml", "yaml")
_MARKS = ("not run", "run if there is", "file", "run")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_FILE_NAME = re.compile(r"# *(?P<name>[\w./-]+\.\w+) *$", re.MULTILINE)
_END = "__end_of_command__"

_ID = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-z]{6}"
# What varies, as it is shown and as it is accepted; tried in this order.
_VARYING = {
    "id": (_ID, _ID),
    "iso": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",) * 2,
    "time": (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?",) * 2,
    "duration": (r"(?<![\w.])\d+\.\ds(?!\w)", r"(?:\d+\.\ds|\d+s|\d+m\d\ds)"),
    "any": (r"\.\.\.", r".*?"),
    "gap": (r" {2,}", r" {2,}"),
    "word": (r"(?<!\w)[0-9a-z]{6}(?!\w)", r""),
}
_SHOWN = re.compile("|".join(f"(?P<{name}>{shown})" for name, (shown, _) in _VARYING.items()))


class PageError(AssertionError):
    """A block did something else than the page says; the text names its place."""


@dataclass(frozen=True)
class Block:
    """A code block, or the command of a ``run`` mark.

    Attributes:
        line: of its fence, from 1.
        marks: by name; see above.
    """

    language: str
    text: str
    line: int
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str | None:
        """The file that the block is, or None."""
        named = _FILE_NAME.match(self.text) if self.language in FILE_LANGUAGES else None
        return named["name"] if named else self.marks.get("file")


def page_paths() -> list[Path]:
    """Return every page whose blocks are run, relative to the project's folder."""
    found = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("faults/*.md")]
    return sorted(path.relative_to(ROOT) for path in found)


def read_blocks(text: str) -> list[Block]:
    """Return the blocks of a page in their order.

    Raises:
        PageError: a block has no end, or a comment looks like a mark and is none.
    """
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        fence = _FENCE.match(line)
        comment = _COMMENT.fullmatch(line.strip())
        if fence is not None:
            blocks.append(Block(fence["language"], _read_body(lines, fence["indent"], number), number, marks))
            marks = {}
        elif comment is not None:
            name, colon, value = comment[1].partition(":")
            if name.strip() not in _MARKS or not colon or not value.strip():
                raise PageError(
                    f"line {number}: {line.strip()!r} is no mark. There are {', '.join(_MARKS)}, each with ':'"
                )
            if name == "run":
                blocks.append(Block(HIDDEN, value.strip(), number))
            else:
                marks[name] = value.strip()
        elif line.strip() and marks:
            raise PageError(f"line {number}: the mark above this line has no block below it")
    return blocks


def _read_body(lines: Iterator[tuple[int, str]], indent: str, start: int) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == "```":
            return "".join(f"{part}\n" for part in body)
        body.append(line.removeprefix(indent))
    raise PageError(f"line {start}: this block has no end")


class PageRun:
    """Runs the blocks of one page in a folder.

    Args:
        folder: an empty one; the page's files go there.
        home: what the commands take for the user's home.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.skipped: list[Block] = []
        self._unused: dict[str, Block] = {}
        self._real: dict[str, str] = {}  # shown ids, and their ends, to those of the real runs
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
            "HOME": str(home),
            "COLUMNS": "100",
            "LC_ALL": "C.UTF-8",
            **{f"GIT_{who}_{what}": "reader" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            "OMP_NUM_THREADS": "1",  # several would wait for each other where another test keeps a core busy
            "PYTHONUNBUFFERED": "1",  # what goes to stdout and stderr comes in the order in which it was written
            "PYTHONDONTWRITEBYTECODE": "1",  # a file that is changed twice a second is compiled anew
        }

    def run(self, blocks: list[Block]) -> None:
        """Run all blocks.

        Raises:
            PageError: one of them fails, prints something else, or does nothing.
        """
        __tracebackhide__ = True
        for block in blocks:
            try:
                self._run_block(block)
            except PageError as error:
                raise PageError(f"line {block.line}: {error}") from None
        for name, block in self._unused.items():
            raise PageError(f"line {block.line}: the file {name} is used by no later block")

    def _run_block(self, block: Block) -> None:
        needed = block.marks.get("run if there is")
        if "not run" in block.marks or (needed is not None and shutil.which(needed) is None):
            self.skipped.append(block)
            return
        self._note_uses(block.text)
        if block.file_name is not None:
            path = self.folder / block.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            self._unused[block.file_name] = block
        elif block.language == HIDDEN:
            self._run_console([(block.text, [])])
        elif block.language == "console":
            self._run_console(_read_console(block.text))
        elif block.language == "python":
            self._run_python([self._write_aside("block.py", block.text)])
        elif block.language == "pycon":
            text = self._write_aside("block.txt", block.text)
            self._run_python(["-m", "doctest", "-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE", text])
        elif block.language == "json":
            _check_json(block.text)
        else:
            raise PageError(
                f"a block of {block.language or 'no language'!r} does nothing; say why: <!-- not run: ... -->"
            )

    def _note_uses(self, text: str) -> None:
        for name in list(self._unused):
            stem = Path(name).stem
            if name in text or re.search(rf"\b{re.escape(stem)}\b", text):
                del self._unused[name]

    def _write_aside(self, name: str, text: str) -> str:
        """Write a block to a file outside of the page's folder, whose content a page may show."""
        path = self.folder.parent / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def _run_python(self, arguments: list[str]) -> None:
        # The page's folder, and not that of the block's file, is where a reader's interpreter imports from.
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self._environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise PageError(f"exit code {done.returncode}:\n{done.stdout}")

    def _run_console(self, commands: list[tuple[str, list[str]]]) -> None:
        with _Shell(self.folder, self._environment) as shell:
            for i, (command, shown) in enumerate(commands):
                code, printed = shell.run(self._with_real_names(command))
                if shown:
                    self._compare(command, shown, printed)
                is_asked = i + 1 < len(commands) and commands[i + 1][0] == "echo $?"
                if code is None:
                    raise PageError(f"$ {command}\nended the shell:\n{printed}")
                if code != 0 and not is_asked:
                    raise PageError(f"$ {command}\nfailed with exit code {code}:\n{printed}")

    def _with_real_names(self, command: str) -> str:
        return re.sub(rf"{_ID}|(?<!\w)[0-9a-z]{{6}}(?!\w)", lambda found: self._real.get(found[0], found[0]), command)

    def _compare(self, command: str, shown: list[str], printed: str) -> None:
        """Compare what a page shows with what was printed, and learn the ids of new runs."""
        printed_lines = [line.rstrip() for line in printed.strip("\n").split("\n")]
        pattern, learnt = self._pattern(shown)
        found = re.fullmatch(pattern, "".join(f"{line}\n" for line in printed_lines))
        if found is None:
            known = [_SHOWN.sub(lambda part: self._real.get(part[0], part[0]), line) for line in shown]
            difference = "\n".join(difflib.unified_diff(known, printed_lines, "shown", "printed", lineterm="", n=100))
            raise PageError(f"$ {command}\nprints something else:\n{difference}")
        for group, name in learnt.items():
            self._real[name] = found[group]
            self._real[name[-6:]] = found[group][-6:]

    def _pattern(self, shown: list[str]) -> tuple[str, dict[str, str]]:
        """Return a regular expression for the shown lines, and which of its groups are the ids of new runs."""
        learnt: dict[str, str] = {}

        def write(found: re.Match[str]) -> str:
            kind, text = str(found.lastgroup), found[0]
            if text in self._real:
                return re.escape(self._real[text])
            if kind == "word":
                return re.escape(text)
            if kind != "id":
                return _VARYING[kind][1]
            known = next((group for group, name in learnt.items() if name == text), None)
            if known is not None:
                return f"(?P={known})"
            group = f"run{len(learnt)}"
            learnt[group] = text
            return f"(?P<{group}>{_ID})"

        parts = []
        for line in shown:
            if line == "...":
                parts.append(r"(?:.*\n)*?")
                continue
            pieces, at = [], 0
            for found in _SHOWN.finditer(line):
                pieces += [re.escape(line[at : found.start()]), write(found)]
                at = found.end()
            parts.append("".join([*pieces, re.escape(line[at:]), r"\n"]))
        return "".join(parts), learnt


class _Shell:
    """A bash that runs one command after the other; ends with its ``with`` block, or when a command takes too long."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._write(f'__end() {{ local status=$?; printf \'\\n{_END} %s\\n\' "$status"; return "$status"; }}\n')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(COMMAND_LIMIT_S)

    def run(self, command: str) -> tuple[int | None, str]:
        """Return the exit code of a command, None if the shell ended, and what it printed."""
        limit = threading.Timer(COMMAND_LIMIT_S, self._kill)
        limit.start()
        try:
            # In braces, as the words that follow are no input of the command.
            self._write(f"{{\n{command}\n}} </dev/null\n__end\n")
            assert self._process.stdout is not None
            printed: list[str] = []
            for line in self._process.stdout:
                if line.startswith(_END):
                    return int(line.split()[1]), "".join(printed).removesuffix("\n")
                printed.append(line)
            return None, "".join(printed)
        finally:
            limit.cancel()
            limit.join()

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended, as its output will tell
            return

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as whole:
        try:
            for line in text.splitlines():
                json.loads(line)
        except ValueError:
            raise PageError(f"this is no JSON: {whole}") from None


def _read_console(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a block, each with the lines shown below it."""
    commands: list[tuple[str, list[str]]] = []
    continues = False
    for line in text.splitlines():
        if continues:
            command, _ = commands[-1]
            commands[-1] = (f"{command}\n{line.removeprefix('> ')}", [])
        elif line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        elif commands:
            commands[-1][1].append(line.rstrip())
            continue
        else:
            raise PageError(f"a console block begins with a command, not with {line!r}")
        continues = line.endswith("\\")
    for _, shown in commands:
        while shown and not shown[-1]:
            shown.pop()
    return commands
