"""Conversations whose language model is an endpoint elsewhere: what it says is known here, and it may fail."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conversing import Talker, read_back, talking
from tests.e2e.metrics import idle
from tests.e2e.speech import said, seconds
from tests.models.lm.endpoints import Answer, Endpoint, chunk, running_endpoint, says
from tests.server import Server, running_server

STORY = (
    "The old cat walked down to the river. She looked at the water for a long time. "
    "Then a small brown dog came along the road."
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as started:
        yield started


@pytest.fixture(scope="module")
def distant_server(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    """A server whose brain is the endpoint."""
    with running_server(
        tmp_path_factory.mktemp("distant"),
        MILLSTREAM_LLM_URL=endpoint.url,
        MILLSTREAM_LLM_MODEL="m",
        MILLSTREAM_LLM_FIRST_TOKEN_TIMEOUT_S="1",
        MILLSTREAM_LLM_TOKEN_TIMEOUT_S="1",
        MILLSTREAM_LLM_RETRIES="0",
    ) as started:
        yield started


def saying(text: str) -> Answer:
    """A reply, word by word."""
    words = text.split(" ")
    return says(*(chunk(content=word + " " * (word is not words[-1])) for word in words), chunk("stop"))


async def assert_replies(talker: Talker, endpoint: Endpoint) -> None:
    endpoint.answers = [saying("All is well.")]
    before = len(talker.of("response.done"))
    await talker.respond()
    response = await talker.done(before + 1)
    assert talker.text(response) == "All is well."
    assert talker.audio(response)


async def test_what_was_not_heard_is_forgotten(distant_server: Server, endpoint: Endpoint) -> None:
    endpoint.answers = [saying(STORY)]
    async with talking(distant_server) as talker:
        await talker.updated(instructions="Be kind.")
        await talker.write("Tell me a story.")
        await talker.respond()
        (item,) = (await talker.done()).output or []
        half_ms = round(seconds(talker.audio(talker.of("response.done")[0].response)) * 500)
        await talker.connection.conversation.item.truncate(item_id=item.id or "", content_index=0, audio_end_ms=half_ms)
        cut = await talker.retrieved(item.id or "")
        await talker.write("Go on.")
        await assert_replies(talker, endpoint)

    heard = cut.content[0].transcript
    assert STORY.startswith(heard)
    assert len(STORY) / 4 < len(heard) < len(STORY) * 3 / 4
    assert [(message["role"], message["content"]) for message in endpoint.requests[-1]["messages"]] == [
        ("system", "Be kind."),
        ("user", "Tell me a story."),
        ("assistant", heard),
        ("user", "Go on."),
    ]


async def test_speech_outlives_its_worker(distant_server: Server, endpoint: Endpoint) -> None:
    """It goes on where it stopped: nothing is said twice, nothing is left out."""
    endpoint.answers = [saying(STORY)]
    async with talking(distant_server) as talker:
        await talker.respond()
        await talker.wait("output_audio.delta")
        distant_server.part("speak").kill()
        response = await talker.done()
        heard = await read_back(distant_server, talker.audio(response))

    assert response.status == "completed"
    assert talker.text(response) == STORY
    assert said(heard, STORY) <= 0.1


async def test_nothing_to_speak(distant_server: Server, endpoint: Endpoint) -> None:
    endpoint.answers = [saying("😀🎉 🐈")]
    async with talking(distant_server) as talker:
        await talker.respond()
        response = await talker.done()
        await assert_replies(talker, endpoint)

    assert response.status == "completed"
    assert talker.text(response) == "😀🎉 🐈"
    assert not talker.audio(response)


FAILURES: list[tuple[str, Any]] = [
    ("endpoint_timeout", lambda endpoint: endpoint.hangs()),
    ("endpoint_timeout", lambda endpoint: endpoint.hangs(chunk(content="Once upon a time, "))),
    ("endpoint_interrupted", lambda _: says(chunk(content="Once upon a time, "))),
    ("endpoint_garbage", lambda _: says("data: {garbage\n\n")),
    ("endpoint_error", lambda _: says("{}", status=400, media_type="application/json")),
]


@pytest.mark.parametrize(("code", "answer"), FAILURES, ids=["silent", "stalls", "dies", "garbage", "refuses"])
async def test_failing_endpoint(distant_server: Server, endpoint: Endpoint, code: str, answer: Any) -> None:
    endpoint.answers = [answer(endpoint)]
    async with talking(distant_server) as talker:
        await talker.respond()
        response: Any = await talker.done()
        await assert_replies(talker, endpoint)
    await idle(distant_server)

    assert response.status == "failed"
    assert response.status_details.error.code == code
    assert "endpoint" in response.status_details.error.message
