"""The one precedence: which source counts for each parameter, whether its value fits, and all problems at once."""

from __future__ import annotations

import os

from pystematic._words import did_you_mean, english_list, short
from pystematic.declare import OMITTED, BadValueError, Parameter, Spec
from pystematic.resolve._files import FileReader
from pystematic.resolve._given import Given
from pystematic.resolve._parameters import Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pystematic.resolve._files import FindRun

PRECEDENCE = (
    "command line (or code)",
    "environment",
    "params file (later ones first)",
    "preset",
    "project file (pyproject.toml)",
    "defaults= of the experiment",
    "declared default",
)


class Resolution:
    """The outcome: parameters, and what is wrong. Parameters that have a problem are missing from them."""

    def __init__(self, parameters: Parameters, problems: Sequence[str], spec: Spec) -> None:
        self.parameters = parameters
        self.problems = tuple(problems)
        self.spec = spec


def resolve(
    spec: Spec,
    given: Mapping[str, Given],
    *,
    problems: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    directory: str | None = None,
    program_dir: str | None = None,
    find_run: FindRun | None = None,
    recorded: tuple[str, str] | None = None,
    lenient: bool = False,
) -> Resolution:
    """Give each parameter of ``spec`` its value and its source.

    Args:
        spec: the declared parameters.
        given: from the command line or from code.
        problems: found earlier, to be reported together with those found here.
        environ: the environment; `os.environ` when None.
        directory: where the search for a pyproject.toml begins; the working directory when None.
        program_dir: the folder of the program, where ``presets/`` stands.
        find_run: tells which run a text after ``--params-file`` means.
        recorded: id and parameters.yaml of the run that is resumed or whose state is taken. What is replayed of it
            ranks below the command line and this command's params files, above all else.
        lenient: pass over names in the project file that ``spec`` lacks; for commands, which know few of them.
    """
    found = list(problems)
    environ = os.environ if environ is None else environ
    directory = os.getcwd() if directory is None else directory
    files = FileReader(spec, found, lenient)
    top = (dict(given), _from_environment(spec, environ))
    params_files = [files.params_file(text, find_run) for text in _listed(_early(spec, "params_file", top))]
    preset = [files.preset(name, program_dir or directory) for name in _listed(_early(spec, "preset", top))]
    given_layer, environment = top
    of_run = {} if recorded is None else files.recorded(recorded[1], recorded[0])
    project = files.project(directory)
    if of_run:
        layers = (given_layer, *reversed(params_files), of_run, environment, *preset, project)
    else:
        layers = (given_layer, environment, *reversed(params_files), *preset, project)
    parameters = _Merge(spec, layers, found, files_above=len(params_files) if of_run else None).run()
    return Resolution(parameters, found, spec)


class _Merge:
    def __init__(
        self,
        spec: Spec,
        layers: Sequence[Mapping[str, Given]],
        problems: list[str],
        files_above: int | None = None,
    ) -> None:
        self.spec = spec
        self.layers = layers
        self.problems = problems
        # How many params files stand above a recorded run; None where there is none.
        self.files_above = files_above
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.ranks: dict[str, int] = {}  # the index of the layer that a value is from; defaults are the last one
        self.failed: set[str] = set()

    def run(self) -> Parameters:
        self._report_unknown()
        for parameter in self.spec.parameters:
            if parameter.counts(self.values):
                self._resolve(parameter)
        self._report_unchosen()
        secrets = {parameter.name for parameter in self.spec.parameters if parameter.secret}
        return Parameters(self.values, self.sources, secrets)

    def _resolve(self, parameter: Parameter) -> None:
        name = parameter.name
        try:
            self.ranks[name] = self._rank(parameter)
            if self.ranks[name] < len(self.layers):
                given = self.layers[self.ranks[name]][name]
                self.values[name] = self._convert(parameter, given)
                self.sources[name] = given.source
            else:
                self.values[name] = self._default(parameter)
                self.sources[name] = "default of experiment" if name in self.spec.defaults else "default"
            if parameter.required and self.values[name] is None:
                raise _Problem(f"{parameter.option} is required, and cannot be none ({self.sources[name]}).")
        except _Problem as problem:
            self._fail(name, str(problem))

    def _rank(self, parameter: Parameter) -> int:
        """Return the index of the first layer that has a value for a parameter; one too large where none has."""
        for rank in self._ranks(parameter):
            layer = self.layers[rank]
            if parameter.name in layer and not self._chooses_otherwise(layer, parameter):
                return rank
        return len(self.layers)

    def _ranks(self, parameter: Parameter) -> Iterable[int]:
        """Return the order of the layers for a parameter: what is not replayed has the environment above files."""
        if self.files_above is None or parameter.replayed:
            return range(len(self.layers))
        environment = 2 + self.files_above  # behind the command line, the params files and the run
        rest = [rank for rank in range(1, len(self.layers)) if rank not in (environment, environment - 1)]
        return [0, environment, *rest]

    def _chooses_otherwise(self, layer: Mapping[str, Given], parameter: Parameter) -> bool:
        """Tell whether a layer means the field of another class: it chose that class, and was overruled in this."""
        for owner, choice in parameter.conditions:
            if owner in layer:
                try:
                    if _read(self.spec.named(owner)[0], layer[owner]) != choice:
                        return True
                except BadValueError:
                    return True
        return False

    def _default(self, parameter: Parameter) -> Any:
        if parameter.required and parameter.default is None:
            envvar = f", in the environment ({parameter.envvar})" if parameter.envvar else ""
            file = " or in a params file" if parameter.allow_from_file else ""
            raise _Problem(
                f"{parameter.option} is required. Give it on the command line ({parameter.option} "
                f"{parameter.type.label.upper()}){envvar}{file}."
            )
        try:
            return parameter.make_default()
        except BadValueError as error:
            raise _Problem(_refused(parameter, f"its default ({parameter.where})", error.piece, error)) from None
        except Exception as error:  # whatever the author's callable raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise _Problem(f"{parameter.name}: its default ({parameter.where}) cannot be made: {reason}.") from None

    def _convert(self, parameter: Parameter, given: Given) -> Any:
        if given.unusable is not None:
            raise _Problem(
                f"{parameter.name}, from {given.source}: it {given.unusable}. Give it again: {parameter.option}."
            )
        try:
            return _read(parameter, given)
        except BadValueError as error:
            value = given.plain if given.words is None else " ".join(text for text, _ in given.words)
            value = value if error.piece is None else error.piece
            raise _Problem(_refused(parameter, _the(given.source), value, error, given.spelled)) from None

    def _report_unknown(self) -> None:
        for name, given in self.layers[0].items():  # files report their own, with the line
            if not self.spec.named(name):
                hint = did_you_mean(name, self.spec.names)
                self.problems.append(f"there is no parameter {name!r} ({given.source}).{hint}")

    def _report_unchosen(self) -> None:
        """Report fields of a class that is not the chosen one, unless a stronger source chose against them."""
        for rank, layer in enumerate(self.layers):
            for name, given in layer.items():
                parameters = self.spec.named(name)
                if not parameters or name in self.values or name in self.failed:
                    continue
                owner = self._unmet(parameters[0])
                if owner in self.failed or rank > self.ranks.get(owner, rank):
                    continue
                conditions = [condition for parameter in parameters for condition in parameter.conditions]
                choices = english_list(sorted({choice for name, choice in conditions if name == owner}), "or")
                chosen = self.values.get(owner)
                self._fail(
                    name,
                    f"{given.spelled or name}, from {_the(given.source)}: it belongs to {owner} {choices}, "
                    f"but {owner} is {'none' if chosen is None else chosen}.",
                )

    def _unmet(self, parameter: Parameter) -> str:
        """Return the outermost choice that keeps a parameter from counting."""
        return next(owner for owner, choice in parameter.conditions if self.values.get(owner) != choice)

    def _fail(self, name: str, problem: str) -> None:
        self.failed.add(name)
        self.values.pop(name, None)
        self.sources.pop(name, None)
        self.problems.append(problem)


class _Problem(Exception):  # noqa: N818 - carries a finished message out of nested calls, nothing else
    pass


def _read(parameter: Parameter, given: Given) -> Any:
    if given.words is not None:
        return parameter.type.parse_words(given.words)
    # A callable has made the value in an earlier run, from a text; it would take it for one.
    return given.plain if given.exact and not parameter.type.repeatable else parameter.check(given.plain)


def _refused(parameter: Parameter, source: str, value: object, error: BadValueError, spelled: str | None = None) -> str:
    shown = "the masked value" if parameter.secret else short(value)
    reason = str(error) if not parameter.secret else parameter.type.label
    end = "" if reason.endswith("?") else "."
    return f"{spelled or parameter.name}, from {source}: {shown} is not {reason}{end}"


def _the(source: str) -> str:
    return f"the {source}" if source == "command line" else source


def _from_environment(spec: Spec, environ: Mapping[str, str]) -> dict[str, Given]:
    given = {}
    for parameter in spec.parameters:
        name = parameter.envvar
        if name and environ.get(name):  # an empty variable is how a shell says "not set"
            given[parameter.name] = Given(f"environment {name}", [(environ[name], False)], OMITTED)
    return given


def _early(spec: Spec, name: str, layers: Sequence[Mapping[str, Given]]) -> Any:
    """Return the value of a parameter that must be known before files are read; problems are reported later."""
    for parameter in spec.named(name):
        given = next((layer[name] for layer in layers if name in layer), None)
        try:
            return parameter.make_default() if given is None else _read(parameter, given)
        except Exception:  # a bad value, or a default that cannot be made
            return None
    return None


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [os.fspath(item) for item in value] if isinstance(value, list | tuple) else [os.fspath(value)]
