"""Shell completion: the scripts for bash, zsh and fish, and the words that they ask for.

Completes commands, experiments, parameters, choices and runs. A program is imported only where no current description
of it exists.
"""

from __future__ import annotations

import os
import sys

from pystematic.cli._description import describe_option, read_description
from pystematic.cli._output import print_records, print_text
from pystematic.errors import Error, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.resolve import Parameters

    # What may stand at a place of the command line, and what is to be said of it.
    Candidates = dict[str, str]

# Each script calls `pystematic __complete` and, where that knows nothing, falls back to file names. bash takes words
# apart at `=` and `:` before it asks, so it hands over the line instead of the words.
_BASH = """\
_pystematic_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(pystematic __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=/] ]]; then compopt -o nospace; fi
}
complete -o bashdefault -o default -F _pystematic_complete pystematic python python3
"""
_ZSH = """\
_pystematic_complete() {
    local -a found texts shown
    local line
    found=("${(@f)$(pystematic __complete zsh "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${found[@]}"; do
        [[ -n "$line" ]] || continue
        texts+=("${line%%$'\\t'*}")
        shown+=("${line/$'\\t'/  -- }")
    done
    if (( $#texts == 0 )); then
        if [[ "$service" == python* ]] && (( $+functions[_python] )); then _python; else _files; fi
    elif [[ $#texts -eq 1 && "$texts[1]" == *[=/] ]]; then
        compadd -S '' -- "${texts[@]}"
    else
        compadd -l -d shown -- "${texts[@]}"
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _pystematic_complete pystematic python python3
"""
_FISH = """\
function __pystematic_complete
    set -l current (commandline -ct)
    set -l found (pystematic __complete fish (commandline -opc) "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c pystematic -f -k -a '(__pystematic_complete)'
complete -c python -f -k -a '(__pystematic_complete)'
complete -c python3 -f -k -a '(__pystematic_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

RUN_COMMANDS = ("show", "diff", "rerun", "tag", "note", "rm", "export")
SWEEP = "sweep"
SWEEP_WORDS = {
    "ls": "List the sweeps.",
    "show": "Show a sweep.",
    "add": "Add points to a sweep.",
    "retry": "Run again what did not complete.",
    "stop": "End a sweep.",
}
PARAMS_FILE_ENDINGS = (".yaml", ".yml", ".json", ".toml")


def print_script(options: Parameters, words: list[str]) -> int:
    """``completion``: print the script of a shell, to be sourced by it."""
    (shell,) = words
    script = SCRIPTS.get(shell)
    if script is None:
        raise UsageError(f"there is no completion for {shell!r}. There are {', '.join(SCRIPTS)}.")
    if options["output"] == "text":
        print_text(script.rstrip("\n"))
    else:
        record = {"shell": shell, "script": script}
        print_records(options["output"], record, [record], ["shell", "script"])
    return 0


def print_completions(options: Parameters, words: list[str]) -> int:
    """``__complete``: print the candidates for the last word of a command line, one a line.

    ``bash LINE BREAKS``, or ``zsh WORD...`` and ``fish WORD...``, whose lines carry a tab and a description.
    """
    shell, *rest = words
    if shell == "bash":
        text, breaks = [*rest, "", ""][:2]
        line, typed = _split(text)
    else:
        line, typed, breaks = rest, "", ""
    if len(line) < 2:
        return 0
    if shell == "fish":  # which hands over the last word as it is written
        line = [*line[:-1], _unquoted(line[-1])]
    found = {text: help for text, help in candidates(line).items() if text.startswith(line[-1])}
    if shell == "bash":
        # What stands before the last break is there already, and stays.
        kept = max((typed.rfind(letter) for letter in breaks if letter in "=:"), default=-1) + 1
        already = len(_unquoted(typed[:kept]))
        lines = [_quoted(text[already:], typed) for text in found]
    else:
        lines = [f"{text}\t{help}" if help else text for text, help in found.items()]
    if lines:
        print_text("\n".join(lines))
    return 0


def candidates(line: Sequence[str]) -> Candidates:
    """Return the candidates for the last word of a command line, of which it may be the beginning."""
    command = os.path.basename(line[0])
    if command == "pystematic":
        return _for_pystematic(line)
    if command.startswith("python"):
        for i, word in enumerate(line[1:-1], 1):
            if line[i - 1] == "-m":
                return _for_program(_file_of(word), line[i + 1 :], module=word)
            if word.endswith(".py"):
                return _for_program(word, line[i + 1 :])
            if not word.startswith("-") and line[i - 1] not in ("-W", "-X"):
                break
    return {}


def _file_of(module: str) -> str:
    path = module.replace(".", os.sep)
    return os.path.join(path, "__main__.py") if os.path.isdir(path) else f"{path}.py"


def _for_pystematic(line: Sequence[str]) -> Candidates:
    from pystematic.cli._app import COMMANDS, command_options

    if len(line) == 2:
        listed = {command.name: command.help for command in COMMANDS if not command.hidden}
        return {**listed, "--help": "Show what there is.", "--version": "Show the version."}
    word, current = line[1], line[-1]
    if word == SWEEP:
        return _for_sweep_command(line)
    if word == "run" and len(line) > 3:
        return _for_program(line[2], line[3:])
    options = {option: describe_option(one, option) for one in command_options(word) for option in one.options}
    name, equals, _ = current.partition("=")
    if equals and name in options:
        return {f"{name}={text}": help for text, help in _values_of(name, options[name], line).items()}
    if line[-2] in options and options[line[-2]]["follows"] != "flag":
        return _values_of(line[-2], options[line[-2]], line)
    if current.startswith("-"):
        return _options(options)
    if word == "schema" and len(line) > 3:
        return _experiments(line[2], line[3:-1])
    if word == "completion":
        return dict.fromkeys(SCRIPTS, "")
    return _runs(_given_output_dir(line)) if word in RUN_COMMANDS else {}


def _values_of(option: str, described: dict[str, Any], line: Sequence[str]) -> Candidates:
    if option == "--set":
        return _settings_of(line)
    if option == "--experiment":
        return dict.fromkeys(_folders(_given_output_dir(line)), "")
    return dict.fromkeys(described["choices"], "")


def _settings_of(line: Sequence[str]) -> Candidates:
    """Return ``NAME=`` for the parameters of the run that ``rerun`` is given."""
    from pystematic.store import find_run

    try:
        run = find_run(line[2], _given_output_dir(line))
    except Error:
        return {}
    from pystematic.declare import framework_groups

    ours = {parameter.name: parameter for group in framework_groups() for parameter in group.parameters}
    return {
        f"{name}=": str(value)
        for name, value in run.params.items()
        if name not in ours or (ours[name].allow_from_file and not ours[name].hidden)
    }


def _given_output_dir(line: Sequence[str]) -> str:
    """Return the folder of the runs as the command itself would find it."""
    given = None
    for i, word in enumerate(line[:-1]):
        if word == "--output-dir":
            given = line[i + 1]
        elif word.startswith("--output-dir="):
            given = word.partition("=")[2]
    from pystematic.cli._app import resolve_output_dir

    try:
        return resolve_output_dir(given)
    except Error:
        return given or "output"


def _folders(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if os.path.isdir(os.path.join(path, name)))
    except OSError:
        return []


def _runs(output_dir: str) -> Candidates:
    """Return run ids, the newest first, by the names of folders alone."""
    ids = {
        run_id: experiment
        for experiment in _folders(output_dir)
        for run_id in _folders(os.path.join(output_dir, experiment))
        if os.path.isfile(os.path.join(output_dir, experiment, run_id, "run.json"))
    }
    return {"last": "the newest run", **dict(sorted(ids.items(), reverse=True))} if ids else {}


def _for_program(program: str, line: Sequence[str], module: str | None = None) -> Candidates:
    node = _description(program, module)
    if node is None:
        return {}
    *before, current = line
    names = {member["name"] for member in node["members"] or ()}
    if before[:1] == [SWEEP] and SWEEP not in names:
        node = {**node, "options": _sweep_options()}
        before = before[1:]
    elif (
        not before
        and node["members"] is not None
        and current
        and SWEEP.startswith(current)
        and not any(name.startswith(current) for name in names)
    ):
        return {SWEEP: "Run an experiment many times."}
    option = ""  # the one whose value is being written
    for word in before:
        if word.startswith("-") and word in node["options"]:
            option = word if node["options"][word]["follows"] != "flag" else ""
        elif word.startswith("-"):
            option = ""
        elif option:
            # In front of an experiment's name every option takes one word.
            greedy = node["options"][option]["follows"] == "list" and node["members"] is None
            option = option if greedy else ""
        else:
            members = {member["name"]: member for member in node["members"] or ()}
            node = members.get(word, node)
    name, equals, value = current.partition("=")
    if equals and name in node["options"]:
        return {f"{name}={text}": "" for text in _choices(name, node["options"][name], value, program, line)}
    if option and not current.startswith("-"):
        return dict.fromkeys(_choices(option, node["options"][option], current, program, line), "")
    members = {member["name"]: member["help"] for member in node["members"] or ()}
    return members if not current.startswith("-") else {**_options(node["options"]), "--help": "Show the help page."}


def _sweep_options() -> dict[str, Any]:
    from pystematic.cli._sweep import sweep_spec  # only in a command line of a sweep

    shown = [parameter for parameter in sweep_spec().parameters if not parameter.hidden]
    return {option: describe_option(one, option) for one in shown for option in one.options}


def _for_sweep_command(line: Sequence[str]) -> Candidates:
    """Return the candidates behind ``pystematic sweep``."""
    words = line[2:-1]
    if not words:
        return dict(SWEEP_WORDS)
    if words[0] not in SWEEP_WORDS:
        return _for_program(words[0], [SWEEP, *line[3:]])
    if len(words) == 1 and words[0] != "ls":
        from pystematic.rundir import sweep_names

        return dict.fromkeys(sweep_names(_given_output_dir(line)), "")
    return {}


def _experiments(program: str, before: Sequence[str]) -> Candidates:
    """Return the experiments and groups in the group that ``before`` names."""
    node = _description(program)
    members = [] if node is None else [node] if node["members"] is None else node["members"]
    for word in before:
        members = next((member["members"] or [] for member in members if member["name"] == word), [])
    return {member["name"]: member["help"] for member in members}


def _options(options: dict[str, dict[str, Any]]) -> Candidates:
    return {**{option: described["help"] for option, described in options.items()}, "--help": "Show the help page."}


def _choices(option: str, described: dict[str, Any], value: str, program: str, line: Sequence[str]) -> list[str]:
    if option == "--params-file":
        return [*_runs(_given_output_dir(line)), *_params_files(value)]
    if option == "--preset":
        folder = os.path.join(os.path.dirname(os.path.abspath(program)), "presets")
        return [stem for stem, ending in map(os.path.splitext, _names(folder)) if ending in PARAMS_FILE_ENDINGS]
    listed = value[: value.rfind(",") + 1] if described["follows"] == "list" else ""
    return [listed + choice for choice in described["choices"]]


def _params_files(begun: str) -> list[str]:
    folder = begun[: begun.rfind("/") + 1]
    found = []
    for name in _names(os.path.expanduser(folder) or "."):
        if os.path.isdir(os.path.join(os.path.expanduser(folder), name)):
            found.append(f"{folder}{name}/")
        elif name.endswith(PARAMS_FILE_ENDINGS):
            found.append(folder + name)
    return found


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def _description(program: str, module: str | None = None) -> dict[str, Any] | None:
    """Return the description of a program, loading the program where no current one exists."""
    program = os.path.expanduser(program)
    if not os.path.isfile(program):
        return None
    root = read_description(program)
    if root is not None:
        return root
    from pystematic.cli._description import write_guessed_description
    from pystematic.cli._program import load_program, program_root

    out = sys.stdout
    try:
        sys.stdout = sys.stderr  # what the program prints at import is no candidate
        if module is not None and os.path.basename(program) == "__main__.py":
            module += ".__main__"
        load_program(program, module)
        write_guessed_description(program_root(), program)
    except BaseException:  # an unfinished program has no completions
        return None
    finally:
        sys.stdout = out
    return read_description(program)


def _split(text: str) -> tuple[list[str], str]:
    """Split a command line as a shell does; return its words and the last one as it is written."""
    words: list[str] = []
    begin = 0
    word: list[str] = []
    quote = ""
    escaped = False
    inside = False
    for i, letter in enumerate(text):
        if not inside and not letter.isspace():
            inside, begin = True, i
        if escaped:
            if quote == '"' and letter not in '"\\$`':
                word.append("\\")
            word.append(letter)
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word.append(letter)
        elif letter in "'\"":
            quote = letter
        elif letter.isspace():
            if inside:
                words.append("".join(word))
                word, inside = [], False
        else:
            word.append(letter)
    typed = text[begin:] if inside else ""
    return [*words, "".join(word)], typed


def _unquoted(text: str) -> str:
    return _split(text)[0][0]


def _quoted(text: str, typed: str) -> str:
    """Quote a candidate for bash such that it goes on from what is typed."""
    if typed[:1] in ("'", '"'):
        return text  # bash closes the quote itself
    return "".join(f"\\{letter}" if letter in " \t'\"\\$`&|;<>()*?[]#~!{}" else letter for letter in text)
