"""``pystematic schema``: the JSON Schema of an experiment's params file, for completion and checks in editors."""

from __future__ import annotations

from pystematic.cli._output import print_json, print_records
from pystematic.cli._program import checked_file, experiments_there, find_node, load_program, program_root
from pystematic.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.cli._node import Node
    from pystematic.declare import Parameter
    from pystematic.resolve import Parameters

    Schema = dict[str, object]


def print_schema(options: Parameters, words: list[str]) -> int:
    """``schema``: load the program and print the schema of one of its experiments."""
    path, *names = words
    load_program(checked_file(path))
    root = program_root()
    if not names:
        raise UsageError(f"EXPERIMENT is missing: pystematic schema FILE EXPERIMENT.{experiments_there(root)}")
    node = find_node(root, names)
    if node.members is not None:
        raise UsageError(f"{' '.join(names)!r} is a group. Name one of its experiments.{experiments_there(node)}")
    schema = schema_of(node)
    if options["output"] == "csv":
        rows = [_row(parameter, node.documents) for parameter in _in_files(node)]
        print_records("csv", schema, rows, ["name", "type", "choices", "default", "description"])
    else:  # it is JSON in any case
        print_json(schema)
    return 0


def schema_of(node: Node) -> Schema:
    """Return the JSON Schema (draft 2020-12) of the params file of an experiment."""
    documents = node.documents
    properties: dict[str, Schema] = {}
    for parameter in _in_files(node):
        _add(properties, parameter.name, _entry(parameter, documents))
        *folders, name = parameter.name.split(".")
        inside = properties
        for folder in folders:  # dotted names may be written as nested tables too
            inside = _table(inside, folder)
        if folders:
            _add(inside, name, _entry(parameter, documents))
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Parameters of {node.full_name}",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if node.description:
        schema["description"] = node.description
    required = [one.name for one in _in_files(node) if one.required and one.default is None and one.when is None]
    if required:
        # A params file may leave required ones to the command line, so this is a note, not a demand.
        schema["$comment"] = f"required from somewhere: {', '.join(required)}"
    return schema


def _in_files(node: Node) -> list[Parameter]:
    return [one for one in node.spec.parameters if not one.hidden and one.allow_from_file]


def _add(properties: dict[str, Schema], name: str, entry: Schema) -> None:
    """Add a property; where one of its name exists, either may hold."""
    known = properties.get(name)
    if known is None:
        properties[name] = entry
    elif known != entry:
        properties[name] = {"anyOf": [*_alternatives(known), entry]}


def _table(properties: dict[str, Schema], name: str) -> dict[str, Schema]:
    """Return the properties of a nested table, which is made if need be."""
    for known in _alternatives(properties.get(name, {})):
        inside = known.get("properties")
        if isinstance(inside, dict) and known.get("$comment") == _NESTED:
            return inside
    made: dict[str, Schema] = {}
    _add(properties, name, {"$comment": _NESTED, "type": "object", "additionalProperties": False, "properties": made})
    return made


_NESTED = "fields by their names"


def _alternatives(schema: Schema) -> list[Schema]:
    listed = schema.get("anyOf")
    return listed if isinstance(listed, list) and set(schema) == {"anyOf"} else [schema] if schema else []


def _entry(parameter: Parameter, documents: dict[str, str]) -> Schema:
    entry: Schema = dict(parameter.type.schema())
    text = parameter.help or documents.get(parameter.name)
    if text:
        entry["description"] = text
    default = _plain_default(parameter)
    if default is not None:
        entry["default"] = default
    return entry


def _plain_default(parameter: Parameter) -> object:
    """Return the default as a params file would hold it; None where it has none that can be written there."""
    if parameter.default is None or callable(parameter.default) or parameter.secret:
        return None
    try:
        plain = parameter.type.plain(parameter.default)
    except Exception:  # a default that has no plain form is left out
        return None
    return plain if isinstance(plain, str | int | float | bool | list | dict) else None


def _row(parameter: Parameter, documents: dict[str, str]) -> dict[str, object]:
    return {
        "name": parameter.name,
        "type": parameter.type.label,
        "choices": list(parameter.type.choices),
        "default": _plain_default(parameter),
        "description": parameter.help or documents.get(parameter.name),
    }
