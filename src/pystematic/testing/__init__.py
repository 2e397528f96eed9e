"""Cases that an author's backend must pass, to be run by pytest in the author's own tests."""

from ._backends import BackendCases

__all__ = ["BackendCases"]
