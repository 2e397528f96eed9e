"""What the author declared: parameters, their types, and the specification of an experiment. Knows no values."""

from pystematic.declare._framework import RESERVED_NAMES, framework_groups
from pystematic.declare._parameter import (
    OMITTED,
    SECRET_ENDINGS,
    Parameter,
    ParameterGroup,
    bare_type,
    caller_place,
)
from pystematic.declare._spec import ParameterSet, Spec, active
from pystematic.declare._types import BadValueError, Choice, ParamType, Text, format_value, type_of

__all__ = [
    "OMITTED",
    "RESERVED_NAMES",
    "SECRET_ENDINGS",
    "BadValueError",
    "Choice",
    "ParamType",
    "Parameter",
    "ParameterGroup",
    "ParameterSet",
    "Spec",
    "Structure",
    "Text",
    "active",
    "bare_type",
    "caller_place",
    "field_docs",
    "format_value",
    "framework_groups",
    "is_structure",
    "section_docs",
    "type_of",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.declare._structure import Structure, field_docs, is_structure, section_docs


def __getattr__(name: str) -> object:
    # Only experiments whose parameters are the fields of a class need this module.
    if name in ("Structure", "field_docs", "is_structure", "section_docs"):
        from pystematic.declare import _structure

        return getattr(_structure, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
