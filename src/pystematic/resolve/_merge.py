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
    from collections.abc import Mapping, Sequence
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
        lenient: pass over names in the project file that ``spec`` lacks; for commands, which know few of them.
    """
    found = list(problems)
    environ = os.environ if environ is None else environ
    directory = os.getcwd() if directory is None else directory
    files = FileReader(spec, found, lenient)
    environment = _from_environment(spec, environ)
    project = files.project(directory)
    top = (dict(given), environment)
    params_files = _early(spec, "params_file", (*top, project))
    preset = _early(spec, "preset", (*top, project))
    from_files: dict[str, Given] = {}
    for text in params_files or ():
        from_files.update(files.params_file(os.fspath(text), find_run))
    from_preset = files.preset(preset, program_dir or directory) if preset else {}
    layers = (*top, from_files, from_preset, project)
    parameters = _Merge(spec, layers, found).run()
    return Resolution(parameters, found, spec)


class _Merge:
    def __init__(self, spec: Spec, layers: Sequence[Mapping[str, Given]], problems: list[str]) -> None:
        self.spec = spec
        self.layers = layers
        self.problems = problems
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.failed: set[str] = set()

    def run(self) -> Parameters:
        self._report_unknown()
        for parameter in self.spec.parameters:
            if parameter.when is not None and self.values.get(parameter.when[0]) != parameter.when[1]:
                continue
            self._resolve(parameter)
        self._report_unchosen()
        secrets = {parameter.name for parameter in self.spec.parameters if parameter.secret}
        return Parameters(self.values, self.sources, secrets)

    def _resolve(self, parameter: Parameter) -> None:
        name = parameter.name
        given = next((layer[name] for layer in self.layers if name in layer), None)
        try:
            if given is not None:
                self.values[name] = self._convert(parameter, given)
                self.sources[name] = given.source
            elif name in self.spec.defaults:
                self.sources[name] = "default of experiment"
                self.values[name] = parameter.copy(default=self.spec.defaults[name]).make_default()
            elif parameter.required and parameter.default is None:
                raise _Problem(
                    f"{parameter.option} is required. Give it on the command line ({parameter.option} "
                    f"{parameter.type.label.upper()}) or in a params file."
                )
            else:
                self.sources[name] = "default"
                self.values[name] = parameter.make_default()
            if parameter.required and self.values[name] is None:
                raise _Problem(f"{parameter.option} is required, and cannot be none ({self.sources[name]}).")
        except _Problem as problem:
            self._fail(name, str(problem))
        except BadValueError as error:
            self._fail(name, f"{name}, from its default: the value is not {error}.")

    def _convert(self, parameter: Parameter, given: Given) -> Any:
        if given.unusable is not None:
            raise _Problem(
                f"{parameter.name}, from {given.source}: it {given.unusable}. Give it again: {parameter.option}."
            )
        if given.exact:
            return given.plain
        try:
            kind = parameter.type
            if given.words is not None:
                return kind.parse_words(given.words)
            return kind.check(given.plain)
        except BadValueError as error:
            value = given.plain if given.words is None else " ".join(text for text, _ in given.words)
            value = value if error.piece is None else error.piece
            shown = "the masked value" if parameter.secret else short(value)
            reason = str(error) if not parameter.secret else parameter.type.label
            raise _Problem(
                f"{given.spelled or parameter.name}, from {_the(given.source)}: {shown} is not "
                f"{reason}{'' if reason.endswith('?') else '.'}"
            ) from None

    def _report_unknown(self) -> None:
        for name, given in self.layers[0].items():  # files report their own, with the line
            if not self.spec.named(name):
                hint = did_you_mean(name, self.spec.names)
                self.problems.append(f"there is no parameter {name!r} ({given.source}).{hint}")

    def _report_unchosen(self) -> None:
        for layer in self.layers:
            for name, given in layer.items():
                parameters = self.spec.named(name)
                if parameters and name not in self.values and name not in self.failed:
                    owners = [parameter.when for parameter in parameters if parameter.when is not None]
                    if owners and owners[0][0] not in self.failed:
                        choices = english_list([choice for _, choice in owners], "or")
                        chosen = self.values.get(owners[0][0])
                        self._fail(
                            name,
                            f"{given.spelled or name}, from {_the(given.source)}: it belongs to {owners[0][0]} "
                            f"{choices}, but {owners[0][0]} is {'none' if chosen is None else chosen}.",
                        )

    def _fail(self, name: str, problem: str) -> None:
        self.failed.add(name)
        self.values.pop(name, None)
        self.sources.pop(name, None)
        self.problems.append(problem)


class _Problem(Exception):  # noqa: N818 - carries a finished message out of nested calls, nothing else
    pass


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
    for layer in layers:
        if name in layer and spec.named(name):
            given = layer[name]
            kind = spec.named(name)[0].type
            try:
                return kind.parse_words(given.words) if given.words is not None else kind.check(given.plain)
            except BadValueError:
                return None
    return None
