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
        if parameter.name in parameters and parameter.name not in plain:
            if parameter.when is not None and parameters.get(parameter.when[0]) != parameter.when[1]:
                continue
            plain[parameter.name] = _plain(parameter, parameters[parameter.name])
    return plain


def _plain(parameter: Parameter, value: Any) -> object:
    from pystematic.rundir import MASKED, Exact, encode

    if parameter.secret and value is not None:
        return encode(MASKED)
    if value is None or isinstance(value, bool) or type(value) in (int, float):
        return encode(value)
    if not parameter.type.repeatable:  # text would be converted a second time when it is read back
        return encode(Exact(value)) if isinstance(value, str | list | tuple | dict | set) else encode(value)
    try:
        simple = parameter.type.plain(value)
        restored = parameter.type.check(simple)
        if type(restored) is type(value) and bool(restored == value):
            return encode(simple)
    except Exception:  # arrays without a truth value and other odd objects: the mark takes over
        pass
    return encode(Exact(value)) if isinstance(value, str) else encode(value)
