"""JSON schemas that clients send: checked before anything is made of them.

Loads no network, so a gateway can refuse at once what a worker would refuse later.
"""

import re
from typing import Any

import jsonschema_rs

MAX_DEPTH = 32
MAX_NODES = 4_000
"""Objects, arrays and values in one schema."""
MAX_MULTIPLE = 1_000
"""Largest `multipleOf`: an automaton that enforces it has as many states."""


class SchemaError(Exception):
    """`param` is the path of what is wrong, from the request's root: "tools[0].function.parameters.properties.x"."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(f"{param}: {message}")
        self.message = message
        self.param = param


def check_parameters(schema: dict[str, Any], param: str) -> None:
    """Check the schema of a function's arguments, which is found at `param`. Raises SchemaError."""
    check(schema, param)
    if schema.get("type", "object") != "object":
        raise SchemaError(f"the type of a function's parameters must be 'object', got {schema['type']!r}", param)


def check(schema: dict[str, Any], param: str) -> None:
    """Check that `schema`, found at `param` of a request, is a JSON schema (draft 2020-12 unless it names another) of
    bounded size. Raises SchemaError.
    """
    _bound(schema, param)
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(error.message, param + "".join(map(_step, error.instance_path))) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(str(error), param) from error


def _bound(schema: dict[str, Any], param: str) -> None:
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    count = 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise SchemaError(f"nested more than {MAX_DEPTH} deep", param)
        if count > MAX_NODES:
            raise SchemaError(f"more than {MAX_NODES} values", param)
        multiple = node.get("multipleOf") if isinstance(node, dict) else None
        if isinstance(multiple, int | float) and multiple > MAX_MULTIPLE:
            raise SchemaError(f"multipleOf must be at most {MAX_MULTIPLE}", param)
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
        waiting.extend((child, depth + 1) for child in children)


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"[\w$-]+", key) else f"[{key!r}]"
