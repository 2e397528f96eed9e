"""How the parameters of a run are written down, so that they come back equal."""

from __future__ import annotations

from pystematic.declare import Parameter, Spec
from pystematic.resolve._parameters import Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def plain_parameters(spec: Spec, parameters: Parameters) -> dict[str, object]:
    """Return name to JSON-like value for parameters.yaml.

    Where the declared type takes a plain value back, the value is plain; else it carries a ``$type`` mark. Secrets
    are masked.
    """
    plain: dict[str, object] = {}
    for parameter in spec.parameters:
        if parameter.name in parameters and parameter.counts(parameters):
            plain[parameter.name] = _plain(parameter, parameters[parameter.name])
    return plain


def _plain(parameter: Parameter, value: Any) -> object:
    from pystematic.rundir import MASKED, Exact, encode

    if parameter.secret and value is not None:
        return encode(MASKED)
    if value is None:
        return encode(value)
    kind = parameter.type
    number = isinstance(value, bool) or type(value) in (int, float)
    # What a callable has made of a text would be converted a second time when it is read back. It is asked about
    # numbers only, most of which it gives back unchanged; a text might be the name of a file that it opens.
    if kind.repeatable or number:
        try:
            simple = kind.plain(value)
            restored = kind.check(simple)
            if type(restored) is type(value) and (bool(restored == value) or restored != restored):
                return encode(simple)
        except Exception:  # arrays without a truth value and other odd objects: the mark takes over
            pass
    exact = number or isinstance(value, str if kind.repeatable else str | list | tuple | dict | set)
    return encode(Exact(value)) if exact else encode(value)
