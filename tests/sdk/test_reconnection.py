"""Sessions whose connection is cut, by a proxy in front of a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import millstream
from millstream import (
    Event,
    Final,
    Reconnect,
    Reconnected,
    ReplyDone,
    ReplyText,
    ServerError,
    SpeechStarted,
    TranscriptFailed,
)
from tests.e2e.speech import FAST, REFERENCE, clip, said, seconds, silence, spoken
from tests.sdk.proxy import Proxy, proxied
from tests.sdk.talk import LONG, SHORT, talking
from tests.server import Server

QUICK = Reconnect(attempts=3, first_pause_s=0.05)
FIRST, SECOND = "sense_0890", "sense_0870"
STORY = "Tell me a very long story about a fox in the forest, in many sentences."


async def test_what_is_said_around_a_cut_is_transcribed_once(server: Server) -> None:
    """Cut in the middle of the second of two utterances, before which the first has its transcript."""
    first, second = clip(FIRST) + silence(1), clip(SECOND) + silence(1)
    events: list[Event] = []
    settled = asyncio.Event()

    async def audio(proxy: Proxy) -> AsyncIterator[bytes]:
        async for piece in spoken(first, FAST):
            yield piece
        await settled.wait()
        async for piece in spoken(second[: len(second) // 2], FAST):
            yield piece
        proxy.cut()
        async for piece in spoken(second[len(second) // 2 :], FAST):
            yield piece

    async with (
        proxied(server) as proxy,
        millstream.transcribe(proxy.url, language="en", reconnect=QUICK) as transcription,
    ):
        async for event in transcription.hear(audio(proxy)):
            events.append(event)
            if isinstance(event, Final):
                settled.set()
        assert proxy.accepted == 2

    finals = [event for event in events if isinstance(event, Final) and event.text]
    for final, name in zip(finals, (FIRST, SECOND), strict=True):
        assert said(final.text, REFERENCE[name]) <= 0.15
    assert [event.lost_s for event in events if isinstance(event, Reconnected)] == [0.0]
    begun = [event for event in events if isinstance(event, SpeechStarted)]
    ended = [event.item for event in events if isinstance(event, Final | TranscriptFailed)]
    assert {event.item for event in begun} <= set(ended)
    assert len(ended) == len(set(ended))
    assert begun[-1].at == pytest.approx(seconds(first), abs=0.5)


async def test_cut_while_the_end_is_awaited(server: Server) -> None:
    """All is sent, and nothing transcribed."""
    async with (
        proxied(server) as proxy,
        millstream.transcribe(proxy.url, language="en", reconnect=QUICK) as transcription,
    ):
        await transcription.send(clip(FIRST))
        await transcription.finish()
        proxy.cut()
        events = [event async for event in transcription]
    (final,) = [event for event in events if isinstance(event, Final)]
    assert said(final.text, REFERENCE[FIRST]) <= 0.15


async def test_a_conversation_is_told_anew(server: Server) -> None:
    """The question after the cut costs as many tokens more than the same question alone as the history has."""
    async with talking(server.url, SHORT, text_only=True) as alone:
        await alone.conversation.send_text("And why?")
        done = await alone.wait(ReplyDone)
        assert done.usage is not None
        without_history = done.usage.input

    async with (
        proxied(server) as proxy,
        talking(proxy.url, SHORT, text_only=True, reconnect=QUICK) as talk,
    ):
        await talk.conversation.send_text("My favourite colour is the blue of the sea in the evening.")
        await talk.wait(ReplyDone)
        proxy.cut()
        await talk.wait(Reconnected)
        await talk.conversation.send_text("And why?")
        done = await talk.wait(ReplyDone, 2)
    assert done.usage is not None
    assert done.usage.input > without_history + 15
    assert done.status in ("completed", "incomplete")


async def test_a_reply_in_progress_is_told_to_be_lost(server: Server) -> None:
    async with (
        proxied(server) as proxy,
        talking(proxy.url, LONG, text_only=True, reconnect=QUICK) as talk,
    ):
        await talk.conversation.send_text(STORY)
        await talk.wait(ReplyText)
        proxy.cut()
        lost = await talk.wait(ReplyDone)
        await talk.wait(Reconnected)
        await talk.conversation.update({"max_output_tokens": SHORT})
        await talk.conversation.respond()
        again = await talk.wait(ReplyDone, 2)
    assert (lost.status, lost.problem) == ("failed", "the connection was lost")
    assert again.status in ("completed", "incomplete")


async def test_a_question_whose_answer_has_not_begun_is_answered(server: Server) -> None:
    """Cut while the user's turn is heard, and again once it is transcribed."""
    async with (
        proxied(server) as proxy,
        talking(proxy.url, SHORT, language="en", reconnect=QUICK) as talk,
    ):
        pcm = clip("sense_0930") + silence(1)
        await talk.say(pcm[: len(pcm) // 2])
        await talk.wait(SpeechStarted)
        proxy.cut()
        await talk.say(pcm[len(pcm) // 2 :])
        final = await talk.wait(Final)
        proxy.cut()
        await talk.wait(Reconnected, 2)
        done = await talk.wait(ReplyDone, 1 + len(talk.all(ReplyDone)))
    assert said(final.text, REFERENCE["sense_0930"]) <= 0.15
    assert done.status in ("completed", "incomplete")


@pytest.mark.parametrize(("reconnect", "attempts"), [(QUICK, 3), (None, 0)])
async def test_a_server_that_stays_away(server: Server, reconnect: Reconnect | None, attempts: int) -> None:
    async with (
        proxied(server) as proxy,
        millstream.transcribe(proxy.url, reconnect=reconnect) as transcription,
    ):
        proxy.refuse = 9
        proxy.cut()
        with pytest.raises(ServerError, match="the connection closed"):
            await anext(transcription)
        with pytest.raises(ServerError, match="the connection closed"):
            await transcription.send(bytes(4_800))
        assert proxy.accepted == 1 + attempts


def test_pauses() -> None:
    reconnect = Reconnect(attempts=5, first_pause_s=1.0, longest_pause_s=6.0)
    assert list(reconnect.pauses(lambda: 1.0)) == [1.0, 2.0, 4.0, 6.0, 6.0]
    assert list(reconnect.pauses(lambda: 0.0)) == [0.5, 1.0, 2.0, 3.0, 3.0]
