"""Write the types of the page's API for the front end: `frontend/src/api/schema.ts`, from `pystematic.web._schema`.

`--check` writes nothing, and exits with 1 where the file is another one.
"""

from __future__ import annotations

import argparse
import sys
import types
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from pystematic.web import _schema  # noqa: E402

TARGET = ROOT / "frontend" / "src" / "api" / "schema.ts"
PLAIN = {float: "number", int: "number", str: "string", bool: "boolean", type(None): "null", typing.Any: "unknown"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = format_module()
    if parser.parse_args().check:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is not what scripts/api_types.py writes: run it.", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    return 0


def format_module() -> str:
    """Return all of the file."""
    parts = ["// Written by scripts/api_types.py from src/pystematic/web/_schema.py. Change that, not this.\n"]
    for name, value in vars(_schema).items():
        if typing.is_typeddict(value):
            parts.append(_interface(name, value))
        elif isinstance(value, str) or name.startswith("_") or getattr(value, "__module__", "") == "__future__":
            continue
        elif typing.get_origin(value) is typing.Literal:
            parts.append(f"export type {name} = {_type(value)};\n")
    return "\n".join(parts)


def _interface(name: str, cls: type) -> str:
    lines = [_comment(cls.__doc__ or ""), f"export interface {name} {{"]
    for field, hint in typing.get_type_hints(cls, vars(_schema), include_extras=True).items():
        optional = typing.get_origin(hint) is typing.NotRequired
        inner = typing.get_args(hint)[0] if optional else hint
        lines.append(f"  {field}{'?' if optional else ''}: {_type(inner)};")
    return "\n".join([*lines, "}\n"])


def _comment(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) == 1:
        return f"/** {lines[0]} */"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def _type(hint: typing.Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if typing.is_typeddict(hint):
        return str(hint.__name__)
    if origin is typing.Literal:
        return " | ".join(f'"{value}"' for value in args)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(dict.fromkeys(_type(arg) for arg in args))
    if origin is list:
        inner = _type(args[0])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<{_type(args[0])}, {_type(args[1])}>"
    raise TypeError(f"no type of TypeScript is known for {hint!r}")


if __name__ == "__main__":
    sys.exit(main())
