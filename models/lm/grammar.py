"""Which replies a request allows: a grammar for llguidance, or none if any text will do."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.base import StreamError
from models.lm import schemas
from models.lm.calls import MARK, MAX_CALLS, TAIL, CallFormat, head
from models.lm.chat import MAX_TOOLS, NamedTool, ResponseFormat, Tool, ToolChoice
from models.lm.schemas import SchemaError

TEXT = "TEXT: /(.|\\n)*/"
UNMARKED = f"start: UNMARKED\nUNMARKED: /(?s:.*)/ & ~/(?s:.*){MARK}(?s:.*)/"
SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""A small model that may add spaces may add them forever."""


def chosen_tools(tools: Sequence[Tool], choice: ToolChoice) -> Sequence[Tool]:
    """The tools that a reply may call. Raises StreamError for a choice that there is not."""
    if len(tools) > MAX_TOOLS:
        raise StreamError(f"at most {MAX_TOOLS} tools, got {len(tools)}", param="tools")
    names = [tool.function.name for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise StreamError(f"two tools are named {name!r}", param=f"tools[{index}].function.name")
    if isinstance(choice, NamedTool):
        if choice.function.name not in names:
            raise StreamError(f"there is no tool {choice.function.name!r}", param="tool_choice.function.name")
        return [tool for tool in tools if tool.function.name == choice.function.name]
    if choice == "required" and not tools:
        raise StreamError("a tool call is required, but there are no tools", param="tool_choice")
    return [] if choice == "none" else tools


def argument_schemas(tools: Sequence[Tool], chosen: Sequence[Tool]) -> dict[str, Mapping[str, Any]]:
    """What the arguments of each chosen tool must follow, by name. Raises StreamError for any tool's bad schema."""
    found: dict[str, Mapping[str, Any]] = {}
    for index, tool in enumerate(tools):
        function = tool.function
        schema = {"type": "object", "properties": {}} if function.parameters is None else function.parameters
        try:
            schemas.check_parameters(schema, f"tools[{index}].function.parameters")
        except SchemaError as error:
            raise invalid_schema(error) from error
        if tool in chosen:
            found[function.name] = {**_closed(schema), "type": "object", **_options(bool(function.strict))}
    return found


def answer_schema(form: ResponseFormat) -> Mapping[str, Any] | None:
    """What the answer must follow, None if it may be any text. Raises StreamError."""
    if form.type == "text":
        return None
    if form.json_schema is None or form.json_schema.schema is None:
        return {"type": "object", **_options(False)}
    try:
        schemas.check(form.json_schema.schema, "response_format.json_schema.schema")
    except SchemaError as error:
        raise invalid_schema(error) from error
    return {**form.json_schema.schema, **_options(bool(form.json_schema.strict))}


def write(
    answer: Mapping[str, Any] | None, calls: Mapping[str, Mapping[str, Any]], choice: ToolChoice, form: CallFormat
) -> str | None:
    """The grammar of replies that follow the schema `answer`, or call functions with arguments that follow `calls`,
    as `choice` says ("none": there are functions, but none may be called). None: any text.
    """
    if not calls:
        if answer is not None:
            return of_schema(answer)
        return UNMARKED if choice == "none" else None
    must_call = choice == "required" or isinstance(choice, NamedTool)
    more = "" if isinstance(choice, NamedTool) else f" ({_literal(form.between)} call){{0,{MAX_CALLS - 1}}}"
    rest = f"call{more} {_literal(form.closing)}"
    after_mark = f"{_literal(form.opening.removeprefix(MARK))} {rest}"
    names = [f"call_{index}" for index in range(len(calls))]
    rules = [f"call: {' | '.join(names)}"]
    rules += [
        f"{rule}: {_literal(head(name))} {_json(schema)} {_literal(TAIL)}"
        for rule, (name, schema) in zip(names, calls.items(), strict=True)
    ]
    if must_call:
        start = [f"start: {_literal(MARK)} {after_mark}"]
    elif answer is not None:
        start = [f"start: answer | {_literal(MARK)} {after_mark}", f"answer: {_json(answer)}"]
    else:
        start = [f"start: TEXT | mark {after_mark}", f"mark[lazy]: TEXT {_literal(MARK)}", TEXT]
    return "\n".join(start + rules)


def _closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plain list of properties allows others too, by the letter of JSON schema; small models then invent some."""
    plain = schema.keys() <= {"$schema", "title", "description", "type", "properties", "required", "$defs"}
    listed = plain and set(schema.get("required", ())) <= set(schema.get("properties", ()))
    return {**schema, "additionalProperties": False} if listed else schema


def of_schema(schema: Mapping[str, Any]) -> str:
    """The grammar of JSON that follows a schema."""
    return f"start: {_json(schema)}"


def invalid_schema(error: SchemaError) -> StreamError:
    """The error of a stream whose request has a bad schema."""
    return StreamError(str(error), code="invalid_schema", param=error.param)


def _options(strict: bool) -> dict[str, Any]:
    return {"x-guidance": {**SPACING, "lenient": not strict}}


def _json(schema: Mapping[str, Any]) -> str:
    return f"%json {json.dumps(schema)}"


def _literal(text: str) -> str:
    return json.dumps(text)
