"""Shell completion: the scripts for bash, zsh and fish, and the words that they ask for.

Completes experiments, parameters, choices and runs. A program is imported only where no current description exists.
"""

from __future__ import annotations

import os
import sys

from pystematic.cli._description import read_description
from pystematic.errors import UsageError
from pystematic.resolve import Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Each script asks `pystematic __complete SHELL INDEX WORD...` for candidates, one a line, and falls back to file
# names. `python FILE.py` is completed too; anything else after `python` is left to the shell.
_BASH = """\
_pystematic_complete() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    if [[ "${COMP_WORDS[0]}" == python* && "${COMP_WORDS[1]}" != *.py ]]; then return 0; fi
    COMPREPLY=($(pystematic __complete bash "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null))
    [[ "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -o bashdefault -F _pystematic_complete pystematic python python3
"""
_ZSH = """\
_pystematic_complete() {
    local -a candidates
    if [[ "${words[1]}" == python* && "${words[2]}" != *.py ]]; then _files; return; fi
    candidates=("${(@f)$(pystematic __complete zsh $((CURRENT - 1)) "${words[@]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then compadd -- "${candidates[@]}"; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _pystematic_complete pystematic python python3
"""
_FISH = """\
function __pystematic_complete
    set -l words (commandline -opc) (commandline -ct)
    if string match -q 'python*' -- $words[1]; and not string match -q '*.py' -- $words[2]
        return
    end
    pystematic __complete fish (math (count $words) - 1) $words 2>/dev/null
end
complete -c pystematic -a '(__pystematic_complete)'
complete -c python -a '(__pystematic_complete)'
complete -c python3 -a '(__pystematic_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

RUN_COMMANDS = ("show", "diff", "rerun")


def print_script(options: Parameters, words: list[str]) -> int:
    """Print the script of a shell, to be sourced by it."""
    script = SCRIPTS.get(words[0])
    if script is None:
        raise UsageError(f"there is no completion for {words[0]!r}. There are {', '.join(SCRIPTS)}.")
    print(script, end="")
    return 0


def print_completions(options: Parameters, words: list[str]) -> int:
    """Print the candidates for word INDEX of a command line: ``SHELL INDEX WORD...``."""
    _, index, *line = words
    position = int(index) if index.isdecimal() else len(line) - 1
    line = [*line, ""][: position + 1]
    while len(line) <= position:
        line.append("")
    current = line[-1]
    found = sorted({candidate for candidate in candidates(line) if candidate.startswith(current)})
    if found:
        print("\n".join(found))
    return 0


def candidates(line: list[str]) -> Iterable[str]:
    """Return the candidates for the last word of a command line, of which it may be the beginning."""
    command = os.path.basename(line[0])
    if command == "pystematic":
        return _for_pystematic(line)
    if command.startswith("python") and len(line) > 2 and line[1].endswith(".py"):
        return _for_program(line[1], line[2:])
    return ()


def _for_pystematic(line: list[str]) -> Iterable[str]:
    from pystematic.cli._app import COMMANDS, command_options

    names = [command.name for command in COMMANDS if not command.hidden]
    if len(line) == 2:
        return [*names, "--help", "--version"]
    word = line[1]
    if word in ("run", "schema") and len(line) > 3:
        return _for_program(line[2], line[3:]) if word == "run" else _experiments(line[2])
    if word == "completion":
        return SCRIPTS
    if line[-1].startswith("-"):
        return command_options(word)
    if line[-2] == "--output":
        return ("text", "json", "csv")
    return _runs() if word in RUN_COMMANDS else ()


def _experiments(program: str) -> Iterable[str]:
    root = _description(program)
    return () if root is None else [member["name"] for member in root.get("members") or ()]


def _runs() -> Iterable[str]:
    """Return run ids by the names of folders alone."""
    output_dir = os.environ.get("PYSTEMATIC_OUTPUT_DIR") or "output"
    ids = ["last"]
    try:
        for experiment in os.listdir(output_dir):
            folder = os.path.join(output_dir, experiment)
            if experiment != "sweeps" and os.path.isdir(folder):
                ids += os.listdir(folder)
    except OSError:
        pass
    return ids


def _for_program(program: str, line: list[str]) -> Iterable[str]:
    node = _description(program)
    if node is None:
        return ()
    *before, current = line
    for word in before:
        for member in node.get("members") or ():
            if member["name"] == word:
                node = member
                break
    members = [member["name"] for member in node.get("members") or ()]
    options = {option: (choices, flag) for option, _, choices, flag, _ in node["options"]}
    name, equals, _ = current.partition("=")
    if equals and name in options:
        return [f"{name}={choice}" for choice in options[name][0]]
    previous = before[-1] if before else ""
    if previous in options and not options[previous][1] and not current.startswith("-"):
        return list(options[previous][0])
    if previous in ("--params-file",):
        return _runs()
    return [*members, *options, "--help"] if current.startswith("-") else members


def _description(program: str) -> dict[str, Any] | None:
    """Return the description of a program, loading the program where no current one exists."""
    if not os.path.isfile(program):
        return None
    root = read_description(program)
    if root is not None:
        return root
    from pystematic.cli._description import write_description
    from pystematic.cli._program import load_program, program_root

    out = sys.stdout
    try:
        sys.stdout = sys.stderr  # what the program prints at import is no candidate
        load_program(program)
        write_description(program_root(), program)
    except BaseException:  # an unfinished program, or one that exits at import, has no completions
        return None
    finally:
        sys.stdout = out
    return read_description(program)
