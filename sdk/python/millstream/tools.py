"""Python functions as tools of a language model."""

import asyncio
import inspect
import json
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}
MAX_OUTPUT_CHARS = 100_000
"""The server takes no longer results."""


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema of an object.

    The `handler` is called with the arguments by name, on a thread unless it is a coroutine function; it returns a
    text, or what can be written as JSON. Without one calls are yours to answer.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[..., Any] | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Tool":
        """A function as a tool: its docstring describes it, its annotations make the schema. Parameters are of type
        `str`, `int`, `float`, `bool`, `list`, `Literal` or one of these or None; `Annotated[str, "..."]` describes one.
        Raises TypeError for any other.
        """
        hints = get_type_hints(function, include_extras=True)
        properties, required = {}, []
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"{function.__name__}: a tool's parameters are given by name, which {name!r} cannot be")
            try:
                properties[name] = _schema(hints[name])
            except (KeyError, TypeError):
                raise TypeError(f"{function.__name__}: a tool's parameter {name!r} cannot be {parameter}") from None
            if parameter.default is parameter.empty:
                required.append(name)
        parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return cls(function.__name__, inspect.getdoc(function) or "", parameters, function)

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as the protocol has it."""
        described = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", **described}

    async def call(self, arguments: dict[str, Any]) -> str:
        """What the handler gives, as the model is told. Raises whatever the handler raises; TypeError and ValueError if
        it gives what cannot be told.
        """
        assert self.handler is not None
        if inspect.iscoroutinefunction(self.handler):
            given = await self.handler(**arguments)
        else:
            given = await asyncio.to_thread(self.handler, **arguments)
        output = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        if len(output) > MAX_OUTPUT_CHARS:
            raise ValueError(f"{self.name}: a result has at most {MAX_OUTPUT_CHARS} characters, this has {len(output)}")
        return output


def tools_by_name(tools: Sequence[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Tools and functions as tools."""
    made = (tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools)
    return {tool.name: tool for tool in made}


def _schema(hint: Any) -> dict[str, Any]:
    """The JSON schema of an annotation. Raises TypeError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if origin is Annotated:
        return {**_schema(arguments[0]), "description": str(arguments[1])}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if each is type(None) else _schema(each) for each in arguments]}
    raise TypeError(f"{hint} has no JSON schema")
