"""Reading a file of lines that may still be growing, in parts of whole lines. Knows nothing of what stands in them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Larger parts leave the caches of the processor, and are read more slowly.
_READ_SIZE = 1 << 15


class LineFile:
    """One growing file. Each reading goes on where the one before ended.

    Attributes:
        offset: bytes read so far; always the start of a line, except after the reading of an unfinished last one.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0) -> None:
        self.path = os.fspath(path)
        self.offset = offset

    def read_parts(self, *, to_end: bool = False, limit: int | None = None) -> Iterator[bytes]:
        """Yield what has been added, in parts that end where a line ends.

        Args:
            to_end: take a last line without its end too: it is whole, or torn.
            limit: do not read beyond this byte.

        Raises:
            OSError: the file cannot be read; what was read before counts.
        """
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            rest: list[bytes] = []  # of a line whose end has not been seen yet
            position = self.offset
            while True:
                wanted = _READ_SIZE if limit is None else min(_READ_SIZE, limit - position)
                part = file.read(wanted) if wanted > 0 else b""
                position += len(part)
                end = part.rfind(b"\n") + 1
                if end or (to_end and not part):
                    data = b"".join([*rest, part[:end]])
                    rest = [part[end:]]
                    if data:
                        self.offset += len(data)
                        yield data
                else:
                    rest.append(part)
                if not part:
                    return
