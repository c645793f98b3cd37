"""The official OpenAI client talks to the language model."""

import json
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
)
from pydantic import BaseModel
from redis.asyncio import Redis

from app.rest.chat_request import ChatRequest
from tests.app.rest.gateway import alone
from tests.app.rest.scripted import call, done, think, token
from tests.e2e.metrics import idle, metric, sessions
from tests.server import Server
from tests.workers.harness import running
from workers.worker import Worker

MODEL = "smollm2-135m-instruct"
QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Repeat this sentence: Paris is the capital of France."}
]
ENDLESS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Count."}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "numbers",
            "schema": {"type": "array", "items": {"type": "integer"}, "minItems": 5_000},
        },
    },
}
"""Takes longer than `idle` waits."""
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "London"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Animal(BaseModel):
    name: str
    legs: int


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(api_key="unused", base_url=f"{server.url}/v1", max_retries=0)


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 24, **fields}


def text(chunks: Iterable[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# --- answers ---


def test_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(**asked())
    (choice,) = answer.choices
    assert "Paris" in (choice.message.content or "")
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert choice.message.tool_calls is None
    assert answer.model == MODEL
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 5
    assert 0 < answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_is_the_same(client: OpenAI) -> None:
    whole = client.chat.completions.create(**asked())
    chunks = list(client.chat.completions.create(**asked(stream=True)))
    assert text(chunks) == whole.choices[0].message.content
    assert len(chunks) > 5
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_at_the_end_of_a_stream(client: OpenAI) -> None:
    whole = client.chat.completions.create(**asked())
    *chunks, last = client.chat.completions.create(**asked(stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert whole.usage is not None
    assert last.usage is not None
    assert last.usage.total_tokens == whole.usage.total_tokens


def test_limits_of_an_answer(client: OpenAI) -> None:
    short = client.chat.completions.create(**asked(max_tokens=3))
    newer = client.chat.completions.create(**asked(max_tokens=None, max_completion_tokens=3))
    assert short.choices[0].finish_reason == newer.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    assert short.choices[0].message.content == newer.choices[0].message.content
    for stop in ("Paris", ["Rome", "Paris"]):
        stopped = client.chat.completions.create(**asked(stop=stop))
        assert stopped.choices[0].finish_reason == "stop"
        assert "Paris" not in (stopped.choices[0].message.content or "")


def test_seed(client: OpenAI) -> None:
    def answer(seed: int) -> str | None:
        wanted = asked(temperature=1.5, top_p=0.95, seed=seed, max_tokens=12)
        answer: ChatCompletion = client.chat.completions.create(**wanted)
        return answer.choices[0].message.content

    assert answer(1) == answer(1)
    assert len({answer(seed) for seed in (-1, 2, 3)}) > 1


def test_parts_and_roles(client: OpenAI) -> None:
    plain = client.chat.completions.create(
        **asked(messages=[{"role": "system", "content": "Be terse."}, *QUESTION], max_tokens=8)
    )
    parts = client.chat.completions.create(
        **asked(
            messages=[
                {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "terse."}]},
                {"role": "user", "name": "Ann", "content": [{"type": "text", "text": QUESTION[0]["content"]}]},
            ],
            max_tokens=8,
        )
    )
    assert plain.choices[0].message.content == parts.choices[0].message.content


def test_answer_sent_back(client: OpenAI) -> None:
    answer = client.chat.completions.create(**asked())
    again: Any = {"role": "user", "content": "Are you sure?"}
    messages = [*QUESTION, answer.choices[0].message, again]
    dumped = [*QUESTION, answer.choices[0].message.model_dump(), again]
    answers = [client.chat.completions.create(**asked(messages=sent, max_tokens=8)) for sent in (messages, dumped)]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content


def test_options_of_stock_clients(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        **asked(
            model="gpt-4o-mini",
            max_tokens=4,
            n=1,
            user="u",
            store=False,
            metadata={"a": "b"},
            service_tier="auto",
            frequency_penalty=0,
            presence_penalty=0,
            logit_bias={},
            logprobs=False,
            modalities=["text"],
            parallel_tool_calls=True,
            reasoning_effort="low",
            response_format={"type": "text"},
            tools=[],
        )
    )
    assert answer.model == MODEL
    assert answer.choices[0].message.content


# --- JSON and tools ---


def test_parse(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe a spider as JSON."}],
        response_format=Animal,
        temperature=0,
        max_tokens=60,
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Animal)


def test_json_object(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        **asked(
            messages=[{"role": "user", "content": "Give me a JSON object with the key city."}],
            response_format={"type": "json_object"},
            max_tokens=200,
        )
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_call_and_its_result(client: OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    called = client.chat.completions.create(
        **asked(messages=messages, tools=[WEATHER], tool_choice="required", max_tokens=80)
    )
    (said,) = called.choices
    assert said.finish_reason == "tool_calls"
    assert said.message.tool_calls
    call = said.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "London")
    messages += [said.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 25 degrees."}]
    answer = client.chat.completions.create(**asked(messages=messages, tools=[WEATHER], tool_choice="none"))
    assert answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls


def test_streamed_call(client: OpenAI) -> None:
    with client.chat.completions.stream(
        **asked(messages=[{"role": "user", "content": "Weather in London?"}], tools=[WEATHER], max_tokens=80),
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    ) as stream:
        kinds = {event.type for event in stream}
        called = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    assert called.message.tool_calls[0].function.name == "get_weather"
    assert json.loads(called.message.tool_calls[0].function.arguments)["city"] in ("Paris", "London")


TWO_CALLS = [
    call(0, "get_weather", '{"city": '),
    call(0, None, '"Paris"}'),
    call(1, "get_weather", '{"city": "London"}'),
    *[call(1, None, " ")] * 1_000,
    done("tool_calls"),
]


async def test_one_call_at_a_time(redis: Redis, redis_url: str) -> None:
    async def called(parallel: bool) -> dict[str, Any]:
        wanted = asked(tools=[WEATHER], parallel_tool_calls=parallel)
        answer = await gateway.post("/v1/chat/completions", json=wanted)
        choice: dict[str, Any] = answer.json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        return {call["function"]["arguments"].strip(): call["id"] for call in choice["message"]["tool_calls"]}

    async with running(Worker(think(TWO_CALLS), redis).run()), alone(redis_url) as gateway:
        one, two = await called(parallel=False), await called(parallel=True)
    assert list(one) == ['{"city": "Paris"}']
    assert list(two) == ['{"city": "Paris"}', '{"city": "London"}']
    assert len(set(two.values())) == 2


ENDPOINT_DOWN = {"code": "endpoint_unreachable", "message": "cannot be reached", "param": None}


async def test_failure_in_the_middle_of_a_stream(redis: Redis, redis_url: str) -> None:
    script = [token("Once"), token(" upon"), done("failed", ENDPOINT_DOWN)]
    async with running(Worker(think(script), redis).run()), alone(redis_url) as gateway:
        streamed = await gateway.post("/v1/chat/completions", json=asked(stream=True))
        whole = await gateway.post("/v1/chat/completions", json=asked())
    *_, last = [line for line in streamed.text.splitlines() if line]
    assert " upon" in streamed.text
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "endpoint_unreachable"
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "endpoint_unreachable")


# --- clients that leave ---


async def test_client_that_leaves_a_stream(server: Server) -> None:
    await idle(server)
    waited = metric(server, "millstream_rest_first_output_seconds_count", service="think")
    async with AsyncOpenAI(api_key="unused", base_url=f"{server.url}/v1") as client:
        stream = await client.chat.completions.create(model=MODEL, stream=True, **ENDLESS)
        assert [await anext(stream) for _ in range(5)]
        assert sessions(server) == 1
        await stream.close()
    await idle(server)
    assert metric(server, "millstream_rest_first_output_seconds_count", service="think") == waited + 1


async def test_client_that_does_not_wait(server: Server) -> None:
    await idle(server)
    async with AsyncOpenAI(api_key="unused", base_url=f"{server.url}/v1", max_retries=0, timeout=1) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model=MODEL, **ENDLESS)
    await idle(server)


async def test_answer_that_takes_too_long(guarded_server: Server) -> None:
    client = OpenAI(api_key="right-key", base_url=f"{guarded_server.url}/v1", max_retries=0)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model=MODEL, stream=True, **ENDLESS))
    assert caught.value.code == "timeout"
    assert "3 s" in caught.value.message
    await idle(guarded_server, "right-key")


# --- refusals ---


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "no-such-model"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages[0].content[0].type",
        ),
        ({"n": 2}, 400, "n"),
        ({"temperature": 2.5}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"stop": ["x"] * 17}, 400, "stop"),
        ({"stop": ""}, 400, "stop"),
        ({"seed": "s"}, 400, "seed"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"frequency_penalty": 1}, 400, "frequency_penalty"),
        ({"logit_bias": {"5": 10}}, 400, "logit_bias"),
        ({"modalities": ["text", "audio"]}, 400, "modalities[1]"),
        ({"functions": [{"name": "f"}]}, 400, "functions"),
        ({"response_format": {"type": "yaml"}}, 400, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format.json_schema"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"tool_choice": "perhaps"}, 400, "tool_choice"),
        ({"tools": [WEATHER, WEATHER]}, 400, "tools"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "tools[0].function.name"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            400,
            "tool_choice.function.name",
        ),
        ({"extra_body": {"colour": "red"}}, 400, "colour"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "colour"}}}},
            400,
            "response_format.json_schema.schema.type",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 5}}}]},
            400,
            "tools[0].function.parameters.type",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_field(client: OpenAI, fields: dict[str, Any], status: int, param: str, stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**asked(stream=stream, **fields))
    assert caught.value.status_code == status
    assert caught.value.param == param
    assert caught.value.code
    assert param in caught.value.message


async def test_no_worker(redis_url: str) -> None:
    async with alone(redis_url, claim_timeout_s=0.1) as gateway:
        answer = await gateway.post("/v1/chat/completions", json=asked())
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_full"
    assert int(answer.headers["retry-after"]) > 0


def test_key(guarded_server: Server) -> None:
    assert httpx.post(f"{guarded_server.url}/v1/chat/completions", json=asked()).status_code == 401


def test_models_of_every_service(client: OpenAI) -> None:
    assert {MODEL, "kokoro", "whisper-base"} <= {model.id for model in client.models.list()}


def test_a_penalty_of_zero_is_not_the_models_own() -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "frequency_penalty": 0}'
    meta = msgspec.json.decode(body, type=ChatRequest).generate()
    assert meta["frequency_penalty"] == 0
    assert "presence_penalty" not in meta
