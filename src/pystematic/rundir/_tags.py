"""Tags as they stand in files: any text, those too that are no Unicode, so that no two of them become one."""

from __future__ import annotations

# Tags that measure the machine and not the experiment. Tables and comparisons of runs leave them out.
SYSTEM_PREFIX = "system/"


def is_unicode(tag: str) -> bool:
    """Tell whether every reader of JSON gives the text back; surrogates are refused or merged by most."""
    try:
        tag.encode()
    except UnicodeEncodeError:
        return False
    return True


def exact_tag(tag: str) -> str:
    """Return the text that stands as ``exact_tag`` for what is no Unicode."""
    return tag.encode("utf-8", "surrogatepass").hex()


def parse_exact_tag(text: object) -> str:
    """Return the tag of an ``exact_tag``.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(text, str):
        raise ValueError(f"no tag: {text!r}")
    return bytes.fromhex(text).decode("utf-8", "surrogatepass")


def shown_tag(tag: str) -> str:
    """Return what stands beside an ``exact_tag`` for readers that do not know it."""
    return f"{tag.encode('utf-8', 'backslashreplace').decode()} ({exact_tag(tag)})"
