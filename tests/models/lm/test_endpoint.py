"""A language model behind an OpenAI-compatible endpoint, good and bad ones, over real HTTP."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from models.base import Message, Output
from models.lm.endpoint import EndpointModel
from models.lm.endpoint_client import MAX_WAITING_EVENTS, EndpointOptions
from tests.models.lm.endpoints import Endpoint, chunk, event, running_endpoint, says, usage

KEY = "sk-very-secret"
STEPS = 1_000
GREETING = (chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"), chunk(finish="stop"))
BAD_KEY = f'{{"error": {{"message": "bad key {KEY}"}}}}'
DONE = "data: [DONE]\n\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with running_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    server.requests.clear()
    server.closed.clear()
    server.answers = [says(*GREETING, usage(9, 4, 2), DONE)]
    return server


def model_of(url: str, **options: Any) -> EndpointModel:
    limits = {"first_token_timeout_s": 20.0, "token_timeout_s": 20.0, "retries": 0, **options}
    return EndpointModel(EndpointOptions(url, "some-model", KEY, **limits), 3)


@pytest.fixture
def model(endpoint: Endpoint) -> EndpointModel:
    return model_of(endpoint.url)


def ask(model: EndpointModel, slot: int = 0, content: str = "Hi", **options: Any) -> None:
    meta = {"messages": [{"role": "user", "content": content}], **options}
    model.push(slot, Message("generate", meta=meta))


def step(model: EndpointModel) -> list[Output]:
    pending = [*model.pending()]
    return model.step(pending[0].bucket, [item.slot for item in pending])


def finish(model: EndpointModel, slot: int = 0) -> list[Output]:
    """Step until nothing is pending; the outputs of one slot."""
    outputs: list[Output] = []
    for _ in range(STEPS):
        if not any(model.pending()):
            return [output for output in outputs if output.slot == slot]
        outputs += step(model)
    raise AssertionError("it never ends")


def error_of(outputs: list[Output]) -> tuple[str, str]:
    """Code and message of the reply's failure."""
    done = outputs[-1]
    assert (done.kind, done.meta["reason"]) == ("done", "failed")
    return done.meta["error"]["code"], done.meta["error"]["message"]


def test_a_reply(model: EndpointModel, endpoint: Endpoint) -> None:
    ask(model, temperature=0.5, top_k=7, max_tokens=9, stop=["x"])
    *texts, done = finish(model)
    assert [(output.kind, output.meta["index"], output.meta["text"]) for output in texts] == [
        ("token", 0, "Hel"),
        ("token", 1, "lo"),
    ]
    counts = {"prompt_tokens": 9, "cached_tokens": 4, "completion_tokens": 2}
    assert done.meta == {"number": 0, "reason": "stop", "text": "", "usage": counts, "error": None}
    assert endpoint.requests == [
        {
            "messages": [{"role": "user", "content": "Hi"}],
            "model": "some-model",
            "temperature": 0.5,
            "top_k": 7,
            "max_tokens": 9,
            "stop": ["x"],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]
    assert endpoint.keys[-1] == f"Bearer {KEY}"


def test_calls(model: EndpointModel, endpoint: Endpoint) -> None:
    def call(index: int, **function: str) -> str:
        return chunk(tool_calls=[{"index": index, "type": "function", "function": function}])

    endpoint.answers = [
        says(
            chunk(content="One moment."),
            call(0, name="weather", arguments=""),
            call(0, arguments='{"city": '),
            call(0, arguments='"Rome"}'),
            call(1, name="hang_up", arguments="{}"),
            chunk(finish="tool_calls"),
            DONE,
        )
    ]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ask(model, tools=[tool], tool_choice="required")
    text, *calls, done = finish(model)
    assert text.meta["text"] == "One moment."
    assert [(output.meta["index"], output.meta["name"], output.meta["arguments"]) for output in calls] == [
        (0, "weather", ""),
        (0, None, '{"city": '),
        (0, None, '"Rome"}'),
        (1, "hang_up", "{}"),
    ]
    assert done.meta["reason"] == "tool_calls"
    assert endpoint.requests[0]["tools"] == [tool]
    assert endpoint.requests[0]["tool_choice"] == "required"


def test_many_at_once_and_in_order(model: EndpointModel) -> None:
    for slot in (0, 1, 2):
        for _ in range(2):
            ask(model, slot)
    outputs = []
    while any(model.pending()):
        outputs += step(model)
    for slot in (0, 1, 2):
        assert [output.meta["number"] for output in outputs if output.slot == slot] == [0] * 3 + [1] * 3


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (says('{"error": {"message": "No such model"}}', status=404, media_type="application/json"), "error", "404"),
        (
            says(f'{{"error": {{"message": "bad key {KEY}"}}}}', status=401, media_type="application/json"),
            "error",
            "bad key ***",
        ),
        (says("busy", status=500, media_type="text/plain"), "error", "500"),
        (says("<html>Welcome</html>", media_type="text/html"), "interrupted", "broke off"),
        (says("data: {]\n\n"), "garbage", "no reply"),
        (says("data: [1, 2]\n\n"), "garbage", "no reply"),
        (says(event({"choices": [{"delta": {"content": 7}}]})), "garbage", "no reply"),
        (says(event({"choices": "no"})), "garbage", "no reply"),
        (says(event({"error": {"message": "overloaded"}})), "error", "overloaded"),
        (says(GREETING[1]), "interrupted", "broke off"),
        (says(chunk(finish="content_filter"), DONE), "refused", "content_filter"),
    ],
    ids=["404", "401", "500", "page", "no json", "list", "number", "string", "error", "no end", "filtered"],
)
def test_bad_answers_fail_alone(
    model: EndpointModel, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, answer: Any, code: str, message: str
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.answers = [answer, says(*GREETING, DONE)]
    ask(model)
    ask(model)
    outputs = finish(model)
    failed = [output for output in outputs if output.meta["number"] == 0]
    found, said = error_of(failed)
    assert found == f"endpoint_{code}"
    assert message in said
    assert KEY not in said + caplog.text
    assert outputs[-1].meta["reason"] == "stop"


def test_an_endpoint_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        model = model_of(f"http://user:password@127.0.0.1:{unused.getsockname()[1]}/v1")
        ask(model)
        code, message = error_of(finish(model))
    assert code == "endpoint_unreachable"
    assert "password" not in message


def test_a_connection_that_dies(endpoint: Endpoint) -> None:
    """Mid-stream, in the middle of a chunk of the transfer."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    body = GREETING[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"{head}{len(body):x}\r\n{body}\r\nff\r\ndata: ".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        model = model_of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        ask(model)
        outputs = finish(model)
        thread.join()
    assert outputs[0].meta["text"] == "Hel"
    assert error_of(outputs)[0] == "endpoint_interrupted"


@pytest.mark.parametrize("before", [(), (GREETING[1],)], ids=["first token", "between tokens"])
def test_timeouts(endpoint: Endpoint, before: tuple[str, ...]) -> None:
    endpoint.answers = [endpoint.hangs(*before)]
    limit = "token_timeout_s" if before else "first_token_timeout_s"
    model = model_of(endpoint.url, **{limit: 0.2})
    ask(model)
    assert error_of(finish(model))[0] == "endpoint_timeout"
    assert endpoint.closed.wait(20)


def test_refusals_are_repeated_before_the_first_token(endpoint: Endpoint) -> None:
    endpoint.answers = [says("wait", status=503), says(*GREETING, DONE)]
    model = model_of(endpoint.url, retries=1)
    ask(model)
    assert finish(model)[-1].meta["reason"] == "stop"
    assert len(endpoint.requests) == 2


def test_cancelling_closes_the_connection(model: EndpointModel, endpoint: Endpoint) -> None:
    endpoint.answers = [endpoint.hangs(GREETING[1]), says(*GREETING, DONE)]
    ask(model)
    ask(model)
    while not step(model):
        pass
    model.cancel(0, 1)
    assert endpoint.closed.wait(20)
    ask(model)
    outputs = finish(model)
    ends = [(output.meta["number"], output.meta["reason"]) for output in outputs if output.kind == "done"]
    assert ends == [(0, "cancelled"), (1, "cancelled"), (2, "stop")]
    assert len(endpoint.requests) == 2


def test_a_reader_that_is_slow(model: EndpointModel, endpoint: Endpoint) -> None:
    """What nobody has taken is bounded."""
    count = 3 * MAX_WAITING_EVENTS
    endpoint.answers = [says(*(chunk(content=str(number)) for number in range(count)), GREETING[-1], DONE)]
    ask(model)
    most, outputs = 0, []
    for _ in range(STEPS):
        if not any(model.pending()):
            break
        threading.Event().wait(0.02)
        took = step(model)
        most = max(most, len(took))
        outputs += took
    assert most <= MAX_WAITING_EVENTS
    assert [output.meta["text"] for output in outputs[:-1]] == [str(number) for number in range(count)]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"messages": []}, "messages"),
        ({"stop_tokens": [1]}, "stop_tokens"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "objekt"}}}]},
            "tools[0].function.parameters.type",
        ),
    ],
)
def test_bad_requests_are_not_sent(
    model: EndpointModel, endpoint: Endpoint, options: dict[str, Any], param: str
) -> None:
    ask(model, **options)
    outputs = finish(model)
    error_of(outputs)
    assert outputs[-1].meta["error"]["param"] == param
    assert endpoint.requests == []


def test_a_stream_that_moves(model: EndpointModel, endpoint: Endpoint) -> None:
    """What had begun to be answered fails, the rest is asked for again."""
    empty = model.snapshot(0)
    inputs = [Message("generate", meta={"messages": [{"role": "user", "content": name}]}) for name in "abc"]
    for message in inputs:
        model.push(0, message)
    outputs = finish(model)
    assert [output.meta["number"] for output in outputs] == [0] * 3 + [1] * 3 + [2] * 3
    endpoint.requests.clear()
    model.resume(1, empty, inputs, outputs[:4])
    moved = finish(model, 1)
    assert [(output.meta["number"], output.kind) for output in moved] == [
        (1, "done"),
        (2, "token"),
        (2, "token"),
        (2, "done"),
    ]
    assert error_of(moved[:1])[0] == "endpoint_interrupted"
    assert [request["messages"][0]["content"] for request in endpoint.requests] == ["c"]


def test_a_snapshot_within_a_reply(model: EndpointModel, endpoint: Endpoint) -> None:
    endpoint.answers = [endpoint.hangs(GREETING[1]), says(*GREETING, DONE)]
    ask(model)
    ask(model)
    while not step(model):
        pass
    model.restore(1, model.snapshot(0))
    model.close(0)
    outputs = finish(model, 1)
    ends = [(output.meta["number"], output.meta["reason"]) for output in outputs if output.kind == "done"]
    assert ends == [(0, "failed"), (1, "stop")]
    json.dumps([output.meta for output in outputs])
