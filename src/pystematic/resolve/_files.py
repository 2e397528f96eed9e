"""Values from files: params files, presets, recorded runs and the project's pyproject.toml.

Which of them counts is decided in `_merge`; which run a text means is told by the caller, who can search for runs.
"""

from __future__ import annotations

import os

from pystematic._words import did_you_mean, short
from pystematic.declare import RESERVED_NAMES, FilePath, Parameter, Sequence_, Spec, bare_type
from pystematic.resolve._given import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    # What a text after --params-file means when it is no file: the run's id and its parameters.yaml.
    FindRun = Callable[[str], tuple[str, str]]

PROJECT_FILE = "pyproject.toml"
# Tables of the project file that hold no parameters.
PROFILE_TABLES = frozenset({"slurm"})
PRESET_SUFFIXES = (".yaml", ".yml", ".json", ".toml")

# What tells the parameters.yaml of a run of pystematic 1.x from a file that a person wrote.
_IN_EACH_OLD_RECORD = {"local_rank", "subprocess"}


class FileReader:
    """Reads files into `Given` values for one specification, and collects what is wrong with them."""

    def __init__(self, spec: Spec, problems: list[str], lenient: bool = False) -> None:
        self.spec = spec
        self.lenient = lenient
        self.problems = problems

    def params_file(self, text: str, find_run: FindRun | None) -> dict[str, Given]:
        """Read a params file or a recorded run; an existing file of the name wins."""
        if os.path.isfile(text):
            run_id = _run_of(text)
            return self.recorded(text, run_id) if run_id else self._file(text, f"file {text}")
        if find_run is not None:
            from pystematic.errors import Error  # only its own kind: anything else is a defect to be seen

            try:
                run_id, path = find_run(text)
            except Error as error:
                self.problems.append(f"--params-file: there is no file {text!r}, and no run: {error}")
                return {}
            return self.recorded(path, run_id)
        self.problems.append(f"--params-file: there is no file {text!r}.")
        return {}

    def preset(self, name: str, program_dir: str) -> dict[str, Given]:
        """Read ``presets/NAME.yaml`` beside the program."""
        folder = os.path.join(program_dir, "presets")
        try:
            files = sorted(entry for entry in os.listdir(folder) if entry.endswith(PRESET_SUFFIXES))
        except OSError:
            files = []
        for suffix in PRESET_SUFFIXES:
            if f"{name}{suffix}" in files:
                path = os.path.join(folder, f"{name}{suffix}")
                return self._file(path, f"file {os.path.join('presets', name + suffix)}")
        names = [os.path.splitext(entry)[0] for entry in files]
        there = f"There are {', '.join(names)}" if names else "There is none"
        self.problems.append(f"--preset: there is no preset {name!r}.{did_you_mean(name, names)} {there} in {folder}.")
        return {}

    def project(self, directory: str) -> dict[str, Given]:
        """Read ``[tool.pystematic]`` of the nearest pyproject.toml at or above ``directory``."""
        try:
            found = _read_project(directory)
        except ValueError as error:
            self.problems.append(str(error))
            return {}
        if found is None:
            return {}
        path, source, table, lines = found
        table = {name: value for name, value in table.items() if name not in PROFILE_TABLES}
        given = self._assign(table, source, lines, ("tool", "pystematic"))
        for name, entry in given.items():
            entry.plain = _beside(os.path.dirname(path), entry.plain, self.spec.named(name)[0])
        return given

    def _file(self, path: str, source: str) -> dict[str, Given]:
        tree, lines = self._load(path, source)
        if tree.keys() >= _IN_EACH_OLD_RECORD:
            tree = {name: value for name, value in tree.items() if not self._is_of_old_plugin(name, value)}
        return self._assign(tree, source, lines, ())

    def _is_of_old_plugin(self, name: str, value: Any) -> bool:
        """Tell whether a name is one that pystematic-torch 1.x gave every experiment, and that this one has not."""
        has_meaning = name == "checkpoint" and value is not None  # a state that the run began from
        return name in RESERVED_NAMES and not self.spec.named(name) and not has_meaning

    def recorded(self, path: str, run_id: str) -> dict[str, Given]:
        """Read what is replayed of the parameters that a run has recorded."""
        source = f"run {run_id}"
        tree, _ = self._load(path, source)
        replayed = {}
        for name, value in tree.items():
            known = self.spec.named(name)
            if (known and known[0].replayed) or (not known and name not in RESERVED_NAMES):
                replayed[name] = value
        given = self._assign(replayed, source, {}, ())
        for name in _unrestorable_defaults(path, given):
            del given[name]
        return given

    def _load(self, path: str, source: str) -> tuple[dict[str, Any], Mapping[tuple[str, ...], int]]:
        try:
            with open(path, encoding="utf-8-sig") as file:  # editors on Windows write a byte order mark
                text = file.read()
            tree, lines = _parse(text, path)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            self.problems.append(f"{source} cannot be read: {reason}.")
            return {}, {}
        except ValueError as error:
            self.problems.append(f"{source}: {error}")
            return {}, {}
        if tree is None:
            return {}, {}
        if not isinstance(tree, dict):
            self.problems.append(f"{source}: expected names and values, got {short(tree)}.")
            return {}, {}
        return tree, lines

    def _assign(
        self,
        tree: Mapping[str, Any],
        source: str,
        lines: Mapping[tuple[str, ...], int],
        base: tuple[str, ...],
    ) -> dict[str, Given]:
        from pystematic.rundir import MASKED, Exact, StoredText, decode

        given: dict[str, Given] = {}
        for keys, plain in _flat(tree, self.spec, ()):
            name = ".".join(keys)
            line = lines.get((*base, *keys))
            place = source if line is None else f"{source}:{line}"
            known = self.spec.named(name)
            if not known and self.lenient:
                continue
            if not known:
                hint = did_you_mean(name, self.spec.names)
                self.problems.append(f"{place}: there is no parameter {name!r}.{hint}")
                continue
            if not known[0].allow_from_file:
                continue
            if name in given:
                self.problems.append(f"{place}: {name!r} stands here again, after {given[name].source}.")
                continue
            value = decode(plain)
            entry = Given(place, plain=value)
            if isinstance(value, Exact):
                entry.plain, entry.exact = value.value, True
            elif value is MASKED:
                entry.unusable = "is masked in the record"
            elif isinstance(value, StoredText):
                entry.unusable = f"was recorded as text only ({short(str(value))})"
            given[name] = entry
        return given


def _unrestorable_defaults(path: str, given: Mapping[str, Given]) -> list[str]:
    """Return parameters recorded as text only that nobody had given: the declared default is better than a refusal."""
    if not any(entry.unusable for entry in given.values()):
        return []
    from pystematic.rundir import RunDir, StoredText, read_document

    document = read_document(RunDir(os.path.dirname(os.path.abspath(path))).run_file) or {}
    sources = document.get("sources")
    if not isinstance(sources, dict):
        return []
    return [
        name
        for name, entry in given.items()
        if isinstance(entry.plain, StoredText) and str(sources.get(name)).startswith("default")
    ]


def _flat(tree: Mapping[str, Any], spec: Spec, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the entries of nested tables by their dotted names, as far as the specification has such names."""
    for key, value in tree.items():
        keys = (*prefix, str(key))
        name = ".".join(keys)
        inside = isinstance(value, dict) and "$type" not in value
        nested = inside and any(own.startswith(name + ".") for own in spec.names)
        if nested and not any(_takes_mapping(parameter) for parameter in spec.named(name)):
            yield from _flat(value, spec, keys)
        else:
            yield keys, value


def _read_project(directory: str) -> tuple[str, str, dict[str, Any], Mapping[tuple[str, ...], int]] | None:
    """Return path, source, our table and its lines of the nearest pyproject.toml at or above a folder.

    Raises:
        ValueError: it cannot be read.
    """
    path = _nearest_project(directory)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError:
        return None
    if not _may_hold_our_table(raw):
        return None
    source = f"project {os.path.relpath(path, directory)}"
    try:
        tree, lines = _parse(raw.decode("utf-8-sig"), path)
    except UnicodeError:
        raise ValueError(f"{source} cannot be read: it is no UTF-8 text.") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    tool = tree.get("tool")
    table = tool.get("pystematic", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ValueError(f"{source}: [tool.pystematic] is no table.")
    return path, source, table, lines


def read_profile(table: str, profile: str | None, directory: str) -> tuple[dict[str, Any], str]:
    """Return the settings of a profile, and where they stand: of ``[tool.pystematic.slurm.PROFILE]``.

    What stands in ``[tool.pystematic.slurm]`` itself is true of every profile, and all that there is without one.

    Args:
        table: one of `PROFILE_TABLES`.
        profile: the profile's name.
        directory: at or above which the project file stands.

    Raises:
        UsageError: there is no such profile, or the file cannot be read.
    """
    from pystematic.errors import UsageError  # the other problems of files are collected

    try:
        found = _read_project(directory)
    except ValueError as error:
        raise UsageError(str(error)) from None
    source = f"[tool.pystematic.{table}] of {PROJECT_FILE}" if found is None else found[1]
    entries = {} if found is None else found[2].get(table, {})
    if not isinstance(entries, dict):
        raise UsageError(f"{source}: [tool.pystematic.{table}] is no table.")
    more = "additional_parameters"  # a setting that is a table itself
    profiles = {name: value for name, value in entries.items() if isinstance(value, dict) and name != more}
    shared = {name: value for name, value in entries.items() if name not in profiles}
    if profile is None:
        return shared, source
    if profile not in profiles:
        there = f" There are {', '.join(profiles)}." if profiles else " There is none."
        raise UsageError(
            f"there is no profile {profile!r} for {table} in {source}.{did_you_mean(profile, profiles)}{there} "
            f"A profile is a table [tool.pystematic.{table}.{profile}]."
        )
    return {**shared, **profiles[profile]}, source


def _may_hold_our_table(raw: bytes) -> bool:
    """Look for a line that may begin [tool.pystematic] or a key of it.

    Spares the many projects that only depend on pystematic the import of a TOML parser at each start.
    """
    if b"pystematic" not in raw:
        return False
    table = b""
    for line in raw.splitlines():
        key = b"".join(line.partition(b"#")[0].split()).replace(b'"', b"").replace(b"'", b"")
        if key.startswith(b"[") and b"," not in key:  # with a comma: a row of a list
            table = key
        if b"pystematic" in key and (key.startswith((b"[tool", b"[[tool")) or table in (b"", b"[tool]")):
            return True
    return False


def _beside(folder: str, plain: Any, parameter: Parameter) -> Any:
    """Return the value of a project file, its paths taken from the folder of the file."""
    kind = bare_type(parameter.type)
    if isinstance(kind, Sequence_) and isinstance(bare_type(kind.item), FilePath) and isinstance(plain, list):
        return [os.path.join(folder, os.path.expanduser(item)) if isinstance(item, str) else item for item in plain]
    is_path = isinstance(kind, FilePath) or parameter.name == "output_dir"
    return os.path.join(folder, os.path.expanduser(plain)) if is_path and isinstance(plain, str) else plain


def _takes_mapping(parameter: Parameter) -> bool:
    return parameter.type.is_container


def _parse(text: str, path: str) -> tuple[Any, Mapping[tuple[str, ...], int]]:
    from pystematic import rundir  # its readers of text formats are loaded only when there is a file to read

    parse = rundir.parse_yaml
    if path.endswith(".toml"):
        parse = rundir.parse_toml_with_lines
    elif path.endswith(".json"):
        parse = rundir.parse_json_with_lines
    tree, lines = parse(text, path)
    return tree, lines


def _run_of(path: str) -> str | None:
    """Return the id of the run whose parameters.yaml this is, or None for any other file."""
    if os.path.basename(path) != "parameters.yaml":
        return None
    folder = os.path.dirname(os.path.abspath(path))
    return os.path.basename(folder) if os.path.isfile(os.path.join(folder, "run.json")) else None


def _nearest_project(directory: str) -> str | None:
    folder = os.path.abspath(directory)
    while True:
        path = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(path):
            return path
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
