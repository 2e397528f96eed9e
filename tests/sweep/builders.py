"""Builders for the tests of sweeps: a specification, a space as a command line gives it."""

from __future__ import annotations

from collections.abc import Sequence

from pystematic.declare import Parameter, ParameterSet, Spec
from pystematic.resolve import OptionReader, tokenize
from pystematic.sweep._space import Space, SpaceReader


def spec_of(*parameters: Parameter) -> Spec:
    """Return a specification of these parameters and of those that every experiment has."""
    made = ParameterSet("experiment 'train'")
    for parameter in parameters:
        made.add(parameter)
    return Spec(made)


def space_of(
    spec: Spec,
    line: str | Sequence[str] = "",
    *,
    zips: Sequence[str] = (),
    file: str | None = None,
    points: str | None = None,
) -> Space:
    """Return the space that a command line describes."""
    tokens = tokenize(line.split() if isinstance(line, str) else line)
    options = OptionReader()
    options.read(tokens, spec)
    reader = SpaceReader(spec, options.problems)
    if points is not None:
        reader.add_points(points)
    reader.add_words(options.given, options.uses)
    if file is not None:
        reader.add_file(file)
    return reader.finish(reader.zip(zips))
