"""Standard output of the command lines: whatever it is connected to, nothing that we print ends in a traceback."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


USAGE_EXIT_CODE = 2


def print_text(text: str) -> None:
    """Print a text and flush. What the encoding of the stream lacks is escaped, as Python does on stderr.

    A reader that has seen enough, such as ``head``, is no error.

    Raises:
        SystemExit: the text cannot be written, because a disk is full for instance; that is said on stderr.
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started us
        return
    try:
        try:
            print(text, file=stream)
        except UnicodeEncodeError:
            encoding = stream.encoding or "utf-8"
            print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)
        stream.flush()
    except BrokenPipeError:
        _lead_nowhere(stream)
    except OSError as error:
        _lead_nowhere(stream)
        print(f"pystematic: standard output cannot be written: {error.strerror}.", file=sys.stderr)
        raise SystemExit(1) from None


def print_json(value: object) -> None:
    """Print a value as strict JSON, in ASCII."""
    import json

    from pystematic.rundir import strict_json

    print_text(json.dumps(strict_json(value), indent=2))


def print_records(form: str, record: object, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print ``record`` as JSON, or ``rows`` as CSV, whichever ``form`` says."""
    if form == "json":
        print_json(record)
        return
    from pystematic.terminal import format_csv

    print_text(format_csv(rows, columns))


def print_usage_problems(problems: Sequence[str], prog: str) -> None:
    """Print what is wrong with a command line, and where help is."""
    if len(problems) == 1:
        lines = [f"{prog}: error: {problems[0]}"]
    else:
        lines = [f"{prog}: {len(problems)} errors:"]
        lines += [f"  {line}" for problem in problems for line in problem.splitlines()]
    lines.append(f"See '{prog} --help'.")
    print("\n".join(lines), file=sys.stderr)


def _lead_nowhere(stream: object) -> None:
    """Keep the interpreter from failing once more when it flushes the stream at its end.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        number = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
