"""What a request can be refused for."""

from __future__ import annotations


class RequestError(Exception):
    """A request that cannot be fulfilled.

    Attributes:
        status: of HTTP.
        message: what is wrong.
        field: which part of the request is meant, where one is.
        position: the number of the character where it goes wrong.
        hint: what to do.
    """

    def __init__(
        self, status: int, message: str, *, field: str | None = None, position: int | None = None, hint: str = ""
    ) -> None:
        self.status = status
        self.message = message
        self.field = field
        self.position = position
        self.hint = hint
        super().__init__(message)
