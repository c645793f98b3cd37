"""Function calls of the real SmolLM2."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.base import Message, Output
from models.lm.model import LanguageModel
from tests.models.lm.replies import finish, text

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
}
TIMER = {
    "type": "function",
    "function": {
        "name": "set_timer",
        "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]},
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


@pytest.fixture(scope="module")
def loaded(smollm2: Path) -> LanguageModel:
    return LanguageModel(smollm2, capacity=2, context=1024)


@pytest.fixture
def model(loaded: LanguageModel) -> LanguageModel:
    for slot in range(loaded.capacity):
        loaded.open(slot, {})
    return loaded


def message(*messages: dict[str, Any], **options: Any) -> Message:
    meta = {"messages": messages, "tools": [WEATHER, TIMER], "temperature": 0.0, "max_tokens": 80, **options}
    return Message("generate", meta=meta)


def reply(model: LanguageModel, *messages: dict[str, Any], **options: Any) -> list[Output]:
    model.push(0, message(*messages, **options))
    return finish(model)[0]


def calls(outputs: list[Output]) -> list[tuple[str, Any]]:
    """Names and arguments; those of one call come together."""
    found: list[tuple[str, str]] = []
    for output in outputs:
        if output.kind == "call":
            if output.meta["name"] is not None:
                found.append((output.meta["name"], ""))
            assert output.meta["index"] == len(found) - 1
            found[-1] = (found[-1][0], found[-1][1] + output.meta["arguments"])
    return [(name, json.loads(arguments)) for name, arguments in found]


def test_a_call_that_is_required(model: LanguageModel) -> None:
    outputs = reply(model, QUESTION, tool_choice="required")
    assert calls(outputs)[0] == ("get_weather", {"city": "Paris"})
    assert text(outputs) == ""
    assert outputs[-1].meta["reason"] == "tool_calls"
    assert len([output for output in outputs if output.kind == "call"]) > 2


def test_a_named_call(model: LanguageModel) -> None:
    outputs = reply(model, QUESTION, tool_choice={"type": "function", "function": {"name": "set_timer"}})
    ((name, arguments),) = calls(outputs)
    assert name == "set_timer"
    assert isinstance(arguments["minutes"], int)


def test_the_answer_uses_a_result(model: LanguageModel) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "content": "The code word is banana.", "tool_call_id": "1"}
    outputs = reply(model, QUESTION, asked, result)
    assert "banana" in text(outputs)
    assert calls(outputs) == []
    assert outputs[-1].meta["reason"] == "stop"


def test_a_call_within_the_limit_of_tokens(model: LanguageModel) -> None:
    outputs = reply(model, QUESTION, tool_choice="required", max_tokens=24)
    assert outputs[-1].meta["reason"] == "length"
    assert next(output for output in outputs if output.kind == "call").meta["name"] == "get_weather"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]}, "parameters"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": 3}}}]},
            "parameters.properties",
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"properties": {"a": {"pattern": "(?=a)b"}}}},
                    }
                ]
            },
            "parameters",
        ),
    ],
)
def test_a_schema_that_does_not_compile(model: LanguageModel, options: dict[str, Any], param: str) -> None:
    (done,) = reply(model, QUESTION, **options)
    assert done.meta["reason"] == "failed"
    assert done.meta["error"]["code"] == "invalid_schema"
    assert done.meta["error"]["param"] == f"tools[0].function.{param}"


def test_a_response_schema_that_does_not_compile(model: LanguageModel) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"not": {"type": "null"}}}}
    (done,) = reply(model, QUESTION, tools=[], response_format=form)
    assert done.meta["error"]["param"] == "response_format.json_schema.schema"


def test_a_call_that_moves_is_said_once(model: LanguageModel) -> None:
    """Wherever the stream is cut, what was delivered and what follows are one reply."""
    wanted = message(QUESTION, tool_choice="required", max_tokens=60)
    empty = model.snapshot(0)
    model.push(0, wanted)
    outputs = finish(model)[0]
    calls_at = [at for at, output in enumerate(outputs) if output.kind == "call"]
    for cut in (calls_at[0], calls_at[0] + 1, calls_at[2], calls_at[2] + 1, len(outputs) - 1, len(outputs)):
        model.resume(1, empty, [wanted], outputs[:cut])
        moved = outputs[:cut] + finish(model)[1]
        assert calls(moved)[0] == ("get_weather", {"city": "Paris"})
        indices = [output.meta["index"] for output in moved if output.kind == "token"]
        assert indices == [*range(len(indices))]
        assert [output.meta["reason"] for output in moved if output.kind == "done"] == ["tool_calls"]
