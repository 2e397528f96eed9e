"""What the author declared: parameters, their types, and the specification of an experiment. Knows no values."""

from pystematic.declare._annotations import is_structure, type_of
from pystematic.declare._compound import OneOf, Sequence_
from pystematic.declare._framework import RESERVED_NAMES, framework_groups
from pystematic.declare._parameter import (
    OMITTED,
    SECRET_ENDINGS,
    Parameter,
    ParameterGroup,
    bare_type,
    caller_place,
)
from pystematic.declare._spec import ParameterSet, Spec
from pystematic.declare._types import (
    BadValueError,
    Boolean,
    Choice,
    ComplexNumber,
    Duration,
    FilePath,
    FlagOrChoice,
    Integer,
    Number,
    ParamType,
    Text,
    TimeSpan,
    format_value,
)

__all__ = [
    "OMITTED",
    "RESERVED_NAMES",
    "SECRET_ENDINGS",
    "BadValueError",
    "Boolean",
    "Choice",
    "ComplexNumber",
    "Duration",
    "FilePath",
    "FlagOrChoice",
    "Integer",
    "Number",
    "OneOf",
    "ParamType",
    "Parameter",
    "ParameterGroup",
    "ParameterSet",
    "Sequence_",
    "Spec",
    "Structure",
    "Text",
    "TimeSpan",
    "bare_type",
    "caller_place",
    "format_value",
    "framework_groups",
    "is_structure",
    "section_docs",
    "type_of",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.declare._structure import Structure, section_docs


def __getattr__(name: str) -> object:
    # Only experiments whose parameters are the fields of a class need this module.
    if name in ("Structure", "section_docs"):
        from pystematic.declare import _structure

        return getattr(_structure, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
