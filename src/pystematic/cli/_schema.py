"""``pystematic schema``: the JSON Schema of an experiment's params file, for completion and checks in editors."""

from __future__ import annotations

from pystematic.cli._program import checked_file, find_node, load_program, program_root
from pystematic.declare import Parameter
from pystematic.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.cli._node import Node
    from pystematic.resolve import Parameters


def print_schema(options: Parameters, words: list[str]) -> int:
    """Load the program and print the schema of one of its experiments."""
    path = checked_file(words[0])
    load_program(path)
    root = program_root()
    if len(words) < 2:
        raise UsageError(f"EXPERIMENT is missing: there are {', '.join(root.members or ())}.")
    node = find_node(root, words[1:])
    if node.members is not None:
        raise UsageError(f"{words[1]!r} is a group; name one of its experiments: {', '.join(node.members)}.")
    import json

    print(json.dumps(schema_of(node), indent=2))
    return 0


def schema_of(node: Node) -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of the params file of an experiment."""
    documents = node.documents
    properties: dict[str, dict[str, object]] = {}
    required = []
    for parameter in node.spec.parameters:
        if parameter.hidden or not parameter.allow_from_file:
            continue
        entry = _entry(parameter, documents)
        known = properties.get(parameter.name)
        properties[parameter.name] = entry if known is None else {"anyOf": [known, entry]}
        if parameter.required and parameter.default is None and parameter.when is None:
            required.append(parameter.name)
    schema: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Parameters of {node.full_name}",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if node.description:
        schema["description"] = node.description
    if required:
        # A params file may leave required ones to the command line, so this is a note, not a demand.
        schema["$comment"] = f"required from somewhere: {', '.join(required)}"
    return schema


def _entry(parameter: Parameter, documents: dict[str, str]) -> dict[str, object]:
    entry = dict(parameter.type.schema())
    text = parameter.help or documents.get(parameter.name)
    if text:
        entry["description"] = text
    default = parameter.default
    if default is not None and not callable(default) and not parameter.secret:
        try:
            plain = parameter.type.plain(default)
        except Exception:  # a default that has no plain form is left out of the schema
            return entry
        if isinstance(plain, str | int | float | bool | list | dict):
            entry["default"] = plain
    return entry
