"""Answers that are made while they are read."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from app.errors import ApiError
from app.rest.background import StreamedResponse, begun, failure

HUNG_S = 60.0
SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


class Body:
    """An endless answer, which counts what was made of it."""

    def __init__(self, broken_at: int | None = None) -> None:
        self.made = 0
        self.closed = False
        self._broken_at = broken_at

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.made != self._broken_at:
                self.made += 1
                yield b"x"
            raise ApiError(503, "worker_lost", "the worker is gone")
        finally:
            self.closed = True


class Client:
    """The ASGI side: takes `reads` pieces of the body, then nothing; leaves after as many if it `leaves`."""

    def __init__(self, reads: int, leaves: bool = False) -> None:
        self.sent: list[Message] = []
        self._reads = reads
        self._leaves = leaves
        self._left = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) > self._reads:
            if self._leaves:
                self._left.set()
            await asyncio.Event().wait()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    def complete(self) -> bool:
        return self.sent[-1].get("more_body") is False


async def answer(body: Body, client: Client, patience_s: float) -> None:
    async with asyncio.timeout(HUNG_S):
        await StreamedResponse(body(), "audio/wav", patience_s)(SCOPE, client.receive, client.send)


async def test_client_that_does_not_read() -> None:
    body, client = Body(), Client(reads=3)
    await answer(body, client, patience_s=0.05)
    assert body.closed
    assert body.made == 3
    assert not client.complete()


async def test_client_that_leaves() -> None:
    body, client = Body(), Client(reads=5, leaves=True)
    await answer(body, client, patience_s=HUNG_S * 2)
    assert body.closed
    assert body.made == 5


async def test_failure_in_the_middle_cuts_the_answer() -> None:
    body, client = Body(broken_at=4), Client(reads=100)
    await answer(body, client, patience_s=HUNG_S)
    assert body.closed
    assert len(client.sent) == 1 + 4
    assert not client.complete()


async def test_failure_at_once_is_told_before_the_answer_begins() -> None:
    with pytest.raises(ApiError, match="gone"):
        await begun(Body(broken_at=0)())


async def test_beginning_loses_nothing() -> None:
    body = Body()
    items = await begun(body())
    assert body.made == 1
    assert [await anext(items) for _ in range(3)] == [b"x"] * 3
    assert body.made == 3
    await items.aclose()
    assert body.closed


@pytest.mark.parametrize(
    ("meta", "status", "message"),
    [
        ({"code": "invalid_value", "message": "must be positive", "param": "seed"}, 400, "seed: must be positive"),
        ({"code": "invalid_value", "message": "seed must be positive", "param": "seed"}, 400, "seed must be positive"),
        ({"code": "worker_lost", "message": "gone"}, 503, "gone"),
    ],
)
def test_who_is_to_blame(meta: dict[str, str], status: int, message: str) -> None:
    error = failure(meta)
    assert (error.status, str(error), error.param) == (status, message, meta.get("param"))
    assert (error.retry_after_s is None) == (status == 400)
