"""Which value each parameter gets, and who set it. Knows sources and their order; runs nothing."""

from pystematic.resolve._files import read_profile
from pystematic.resolve._given import Given
from pystematic.resolve._merge import PRECEDENCE, Resolution, resolve
from pystematic.resolve._options import COMMAND_LINE, OptionReader
from pystematic.resolve._parameters import Parameters, secret_names_of, sources_of
from pystematic.resolve._plain import plain_parameters
from pystematic.resolve._tokens import Option, Word, tokenize

__all__ = [
    "COMMAND_LINE",
    "PRECEDENCE",
    "Given",
    "Option",
    "OptionReader",
    "Parameters",
    "Resolution",
    "Word",
    "plain_parameters",
    "read_profile",
    "resolve",
    "secret_names_of",
    "sources_of",
    "tokenize",
]
