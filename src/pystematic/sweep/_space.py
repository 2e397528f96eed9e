"""The space of a sweep: which values each parameter has, which advance together, and the points of the grid.

Reads what a command line, a ``--space`` file, a ``--points`` file or code gives; knows nothing of runs.
"""

from __future__ import annotations

import os

from pystematic._record import record
from pystematic._words import did_you_mean, english_list, snake
from pystematic.declare import OMITTED, BadValueError, Parameter, Spec
from pystematic.errors import UsageError
from pystematic.resolve import COMMAND_LINE, Given
from pystematic.sweep._grammar import Axis, BadAxisError, axis_of, format_axis, is_container, parse_axis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

# What belongs to one run, and cannot be said of all runs of a sweep.
_OF_ONE_RUN = frozenset({"resume", "pdb", "subprocess", "local_rank"})


@record
class Block:
    """Parameters that advance together: row ``i`` of the block is the ``i``-th value of each of them.

    A value that is ``OMITTED`` leaves the parameter to its default.
    """

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return len(self.axes[0].values)

    def row(self, index: int) -> dict[str, Any]:
        """Return name to value of one row."""
        found = {axis.name: axis.values[index] for axis in self.axes}
        return {name: value for name, value in found.items() if value is not OMITTED}


class Space:
    """What a sweep tries.

    Args:
        blocks: lists of values, in the order in which they were written.
        ranges: parameters whose values a sampler takes from a range.
        settings: what is the same for all runs and no part of what they are, by parameter name.
    """

    def __init__(self, blocks: Sequence[Block], ranges: Sequence[Axis], settings: Mapping[str, Given]) -> None:
        self.blocks = tuple(blocks)
        self.ranges = tuple(ranges)
        self.settings = dict(settings)

    @property
    def axes(self) -> list[Axis]:
        """All parameters that were given values."""
        return [axis for block in self.blocks for axis in block.axes] + list(self.ranges)

    @property
    def varying(self) -> list[str]:
        """The names of the parameters with more than one value."""
        return [axis.name for axis in self.axes if axis.range is not None or len(axis.values) > 1]

    @property
    def count(self) -> int | None:
        """The number of points of the grid; None where a range has no list of values."""
        if self.ranges:
            return None
        total = 1
        for block in self.blocks:
            total *= len(block)
        return total

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield the points in the order written, the last parameter varying fastest."""
        import itertools

        for rows in itertools.product(*(range(len(block)) for block in self.blocks)):
            point: dict[str, Any] = {}
            for block, index in zip(self.blocks, rows, strict=True):
                point.update(block.row(index))
            yield point

    def sources(self) -> dict[str, str]:
        """Return where the values of each parameter were given."""
        return {axis.name: axis.source for axis in self.axes}

    def describe(self) -> list[tuple[str, str, str]]:
        """Return for each parameter its name, how many values it has, and which."""
        rows = []
        for axis in self.axes:
            count = "range" if axis.range is not None else str(len(axis.values))
            given = [value for value in axis.values if value is not OMITTED]
            shown = format_axis(Axis(axis.parameter, given[:20], axis.range))
            rows.append((axis.name, count, shown + (",…" if len(given) > 20 else "")))
        return rows


class SpaceReader:
    """Puts a space together, and collects what is wrong with it.

    Args:
        spec: the parameters of the experiment.
        problems: found before; more are added.
    """

    def __init__(self, spec: Spec, problems: Iterable[str] = ()) -> None:
        self._spec = spec
        self.problems = list(problems)
        self._axes: dict[str, Axis] = {}
        self._points: list[Axis] = []
        self._settings: dict[str, Given] = {}

    def add_words(self, given: Mapping[str, Given], uses: Mapping[str, Sequence[Sequence[tuple[str, bool]]]]) -> None:
        """Add what a command line gives, as `OptionReader` has read it."""
        for name, one in given.items():
            parameter = self._known(name, one.source)
            if parameter is None or self._takes_setting(parameter, one):
                continue
            if one.words is None:
                self._add(parameter, one.source, axis_of, one.plain)
            else:
                self._add(parameter, one.source, parse_axis, uses.get(name) or [one.words])

    def add_values(self, values: Mapping[str, Any], source: str = "code") -> None:
        """Add what code gives: for each parameter a list of values, or one."""
        for name, given in values.items():
            parameter = self._known(str(name), source)
            if parameter is None or self._takes_setting(parameter, Given(source, plain=given)):
                continue
            self._add(parameter, source, _axis_of_code, given)

    def add_file(self, path: str) -> None:
        """Add a file of parameter to value or values; what was added before counts more."""
        tree, lines = self._load(path)
        for key, given in _flat(tree, self._spec):
            line = lines.get(tuple(key.split("."))) or lines.get((key,))
            source = f"file {path}" if line is None else f"file {path}:{line}"
            parameter = self._known(snake(key), source)
            if parameter is None or parameter.name in self._axes or parameter.name in self._settings:
                continue
            if self._takes_setting(parameter, Given(source, plain=given)):
                continue
            self._add(parameter, source, axis_of, given)

    def add_points(self, path: str) -> None:
        """Add a CSV file with one point in each row, below a header of names; an empty cell leaves a default."""
        import csv

        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file)
                rows = [(row, reader.line_num) for row in reader]
        except (OSError, UnicodeError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or "it is no CSV file in UTF-8"
            self.problems.append(f"--points {path} cannot be read: {reason}.")
            return
        rows = [(row, line) for row, line in rows if any(cell.strip() for cell in row)]
        if len(rows) < 2:
            self.problems.append(f"--points {path}: expected a line of names, and a line for each point.")
            return
        (header, first), *points = rows
        for row, line in points:
            if any(cell.strip() for cell in row[len(header) :]):
                self.problems.append(f"file {path}:{line} has more values than there are names in line {first}.")
        for column, heading in enumerate(header):
            source = f"file {path}:{first}"
            parameter = self._known(snake(heading.strip()), source)
            if parameter is not None and not parameter.identity:
                self.problems.append(_not_identity(parameter, source))
            elif parameter is not None and any(axis.name == parameter.name for axis in self._points):
                self.problems.append(f"{parameter.name} is the name of two columns ({source}). Give it once.")
            elif parameter is not None:
                self._points.append(self._column(parameter, path, column, points))

    def _column(self, parameter: Parameter, path: str, column: int, points: Sequence[tuple[list[str], int]]) -> Axis:
        values: list[Any] = []
        for row, number in points:
            cell = row[column].strip() if column < len(row) else ""
            source = f"file {path}:{number}"
            try:
                values.append(_cell(parameter, cell) if cell else OMITTED)
            except BadAxisError as error:
                self.problems.append(f"{parameter.name}, from {source}: {error}.")
        return Axis(parameter, values, source=f"file {path}")

    def zip(self, groups: Iterable[str]) -> list[list[str]]:
        """Return the names that advance together, by texts with commas between names."""
        return [[snake(name.strip()) for name in text.split(",") if name.strip()] for text in groups]

    def finish(self, zipped: Sequence[Sequence[str]] = ()) -> Space:
        """Return the space.

        Args:
            zipped: groups of names that advance together.

        Raises:
            UsageError: whatever is wrong, all of it.
        """
        block_of = self._zipped(zipped)
        if self.problems:
            raise UsageError(self.problems)
        blocks: list[Block] = [Block(tuple(self._points))] if self._points else []
        for name, axis in self._axes.items():
            group = block_of.get(name, [name])
            if axis.range is None and group[0] == name:
                blocks.append(Block(tuple(self._axes[one] for one in group)))
        ranges = [axis for axis in self._axes.values() if axis.range is not None]
        return Space(blocks, ranges, self._settings)

    def _zipped(self, groups: Sequence[Sequence[str]]) -> dict[str, list[str]]:
        block_of: dict[str, list[str]] = {}
        for group in groups:
            names = ",".join(group)
            if len(group) < 2:
                self.problems.append(f"--zip {names}: name two parameters or more, with commas between them.")
                continue
            unknown = [name for name in group if name not in self._axes]
            for name in unknown:
                hint = did_you_mean(name, self._axes)
                self.problems.append(f"--zip {names}: {name!r} is given no values here.{hint}")
            twice = [name for name in group if name in block_of or list(group).count(name) > 1]
            if twice:
                self.problems.append(f"--zip {names}: {twice[0]!r} stands in --zip twice.")
            if unknown or twice:
                continue
            axes = [self._axes[name] for name in group]
            lengths = [f"{axis.name} has {'a range' if axis.range else len(axis.values)}" for axis in axes]
            if any(axis.range is not None for axis in axes) or len({len(axis.values) for axis in axes}) > 1:
                together = english_list(lengths)
                self.problems.append(f"--zip {names}: they need equally many values, but {together}.")
            first = min(group, key=list(self._axes).index)
            ordered = [first, *(name for name in group if name != first)]
            block_of.update(dict.fromkeys(group, ordered))
        return block_of

    def _known(self, name: str, source: str) -> Parameter | None:
        found = self._spec.named(name)
        if not found:
            names = [one.name for one in self._spec.parameters if not one.hidden]
            self.problems.append(f"there is no parameter {name!r} ({source}).{did_you_mean(name, names)}")
            return None
        return found[0]

    def _takes_setting(self, parameter: Parameter, given: Given) -> bool:
        """Take what is the same for all runs, and no part of what they are; tell whether it was taken."""
        if parameter.name in _OF_ONE_RUN:
            self.problems.append(f"{parameter.option} belongs to a single run, not to a sweep ({given.source}).")
            return True
        if parameter.framework and parameter.name == "dry_run" and given.plain:
            self.problems.append(f"dry_run ({given.source}) is for the command line: --dry-run shows the points.")
            return True
        if parameter.secret and _has_many(parameter, given):
            self.problems.append(_not_told_apart(parameter, given.source))
            return True
        if parameter.identity:
            return False
        is_sentence = parameter.framework and parameter.name == "note"  # in which a comma is only that
        if not is_sentence and _has_many(parameter, given):
            self.problems.append(_not_identity(parameter, given.source))
            return True
        self._settings[parameter.name] = given
        return True

    def _add(self, parameter: Parameter, source: str, read: Callable[..., Axis], given: Any) -> None:
        if any(axis.name == parameter.name for axis in self._points):
            self.problems.append(f"{parameter.name} is given by --points and by the {source}. Give it once.")
            return
        try:
            self._axes[parameter.name] = read(parameter, given, source)
        except BadAxisError as error:
            where = f"the {source}" if source == COMMAND_LINE else source
            end = "" if str(error).endswith("?") else "."
            self.problems.append(f"{parameter.option}, from {where}: {error}{end}")

    def _load(self, path: str) -> tuple[dict[str, Any], Mapping[tuple[str, ...], int]]:
        from pystematic import rundir  # its readers of text formats are loaded only when there is a file

        parse: Any = rundir.parse_yaml
        if path.endswith(".toml"):
            parse = rundir.parse_toml_with_lines
        elif path.endswith(".json"):
            parse = rundir.parse_json_with_lines
        try:
            with open(path, encoding="utf-8-sig") as file:
                tree, lines = parse(file.read(), path)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            self.problems.append(f"--space {path} cannot be read: {reason}.")
            return {}, {}
        except ValueError as error:
            self.problems.append(f"--space {path}: {error}")
            return {}, {}
        if not isinstance(tree, dict):
            self.problems.append(f"--space {path}: expected names and values in {os.path.basename(path)}.")
            return {}, {}
        return tree, lines


def _axis_of_code(parameter: Parameter, given: object, source: str) -> Axis:
    return axis_of(parameter, given, source, reads_texts=False)


def _cell(parameter: Parameter, text: str) -> Any:
    """Read one value: its commas belong to it.

    Raises:
        BadAxisError: it does not fit.
    """
    literal = text.startswith("=")
    try:
        return parameter.type.parse_words([(text[1:] if literal else text, literal)])
    except BadValueError as error:
        shown = "the masked value" if parameter.secret else repr(text)
        raise BadAxisError(f"{shown} is not {error}") from None


def _has_many(parameter: Parameter, given: Given) -> bool:
    try:
        if given.words is None:
            axis = axis_of(parameter, given.plain, given.source)
        else:
            axis = parse_axis(parameter, [given.words], given.source)
    except BadAxisError:  # reported when it is resolved
        return False
    return axis.range is not None or len(axis.values) > 1


def _not_identity(parameter: Parameter, source: str) -> str:
    return (
        f"{parameter.option} has several values ({source}), but is no part of what a run is: runs that differ in it "
        "only are the same. Give it one value."
    )


def _not_told_apart(parameter: Parameter, source: str) -> str:
    return (
        f"{parameter.option} has several values ({source}), but is secret: none is recorded, so that runs which differ "
        "in it only are the same. Give it one value."
    )


def _flat(tree: Mapping[str, Any], spec: Spec, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested tables by their dotted names, as far as the specification has such names."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        inside = isinstance(value, dict) and any(own.startswith(snake(name) + ".") for own in spec.names)
        if inside and not any(is_container(parameter) for parameter in spec.named(snake(name))):
            yield from _flat(value, spec, f"{name}.")
        else:
            yield name, value
