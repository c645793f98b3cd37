"""`millstream.speak`: text as speech of a real server."""

import asyncio
import threading
from itertools import takewhile

import pytest

import millstream
from millstream import Reconnect, ServerError
from millstream.protocol.speech import MAX_PART_CHARS, Script
from tests.e2e.conversing import read_back
from tests.e2e.speech import said
from tests.sdk.proxy import proxied
from tests.server import Server, free_port

SENTENCES = ["The kettle is on the table. ", "Dr. Brown has gone to the village. ", "He will be back at three."]
TEXT = "".join(SENTENCES)
STORY = "The old man walked slowly along the river and looked at the boats. " * 40


async def spoken(speech: millstream.Speech) -> bytes:
    return b"".join([pcm async for pcm in speech])


async def test_text(server: Server) -> None:
    async with millstream.speak(TEXT, server.url, voice="nova", speed=1.1) as speech:
        pcm = await spoken(speech)
    assert said(await read_back(server, pcm), TEXT) <= 0.15


async def test_pieces_are_spoken_while_others_come(server: Server) -> None:
    """The first sentence is heard before the last words are known."""
    async with millstream.speak(url=server.url) as speech:
        for piece in (SENTENCES[0][:9], SENTENCES[0][9:], SENTENCES[1]):
            await speech.send(piece)
        pcm = await anext(speech)
        await speech.send(SENTENCES[2])
        await speech.finish()
        pcm += await spoken(speech)
    assert said(await read_back(server, pcm), TEXT) <= 0.15


async def test_a_wait_for_audio_can_be_given_up(server: Server) -> None:
    async with millstream.speak(url=server.url) as speech:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(speech), 0.05)
        await speech.send(SENTENCES[0])
        await speech.finish()
        pcm = await spoken(speech)
    assert said(await read_back(server, pcm), SENTENCES[0]) == 0


async def test_cancelled(server: Server) -> None:
    """The connection is closed at once, so that the server makes no more of it."""
    async with proxied(server) as proxy, millstream.speak(STORY, proxy.url) as speech:
        assert await anext(speech)
        await speech.cancel()
        assert [more async for more in speech] == []
        await asyncio.wait_for(proxy.ended.acquire(), 10)
    await asyncio.to_thread(_no_threads_are_left)


def _no_threads_are_left() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("millstream"):
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "options", "code", "param"),
    [
        ("Yes.", {"voice": "nobody"}, "invalid_value", "voice"),
        ("Yes.", {"speed": 9.0}, "invalid_value", "speed"),
        ("🙂", {}, "nothing_to_speak", "input"),
    ],
)
async def test_refused(server: Server, text: str, options: dict[str, object], code: str, param: str) -> None:
    async with millstream.speak(text, server.url, **options) as speech:  # type: ignore[arg-type]
        with pytest.raises(ServerError) as caught:
            await spoken(speech)
    assert (caught.value.code, caught.value.param) == (code, param)


async def test_what_has_no_words_is_skipped(server: Server) -> None:
    async with millstream.speak(url=server.url) as speech:
        await speech.send("🙂! Yes, of course. 🙂")
        first = await anext(speech)
        await speech.finish()
        assert first + await spoken(speech)


async def test_no_server() -> None:
    async with millstream.speak("Yes.", f"http://127.0.0.1:{free_port()}") as speech:
        with pytest.raises(OSError, match="refused"):
            await anext(speech)
    with pytest.raises(ValueError, match="http://"):
        async with millstream.speak("Yes.", "127.0.0.1:8000"):
            pass


async def test_the_connection_fails_between_two_sentences(server: Server) -> None:
    quick = Reconnect(attempts=3, first_pause_s=0.05)
    async with proxied(server) as proxy, millstream.speak(url=proxy.url, reconnect=quick) as speech:
        await speech.send(SENTENCES[0] + "He")
        pcm = await anext(speech)
        proxy.refuse = 2
        await speech.send(SENTENCES[2][2:])
        await speech.finish()
        pcm += await spoken(speech)
        assert proxy.accepted == 4
    assert said(await read_back(server, pcm), SENTENCES[0] + SENTENCES[2]) <= 0.15


async def test_the_connection_fails_within_a_sentence(server: Server) -> None:
    async with proxied(server) as proxy, millstream.speak(STORY, proxy.url) as speech:
        await anext(speech)
        proxy.cut()
        with pytest.raises(ServerError, match="broke off"):
            await spoken(speech)
        assert proxy.accepted == 1


def test_parts() -> None:
    """Whole sentences, as many as are there, wherever the text is cut."""
    script = Script()
    script.add('He came at 3.14 p.m. to see Dr. J. Who. "Well!" sh')
    assert script.part() == "He came at 3.14 p.m. to see Dr. J. Who. "
    script.add("e said... and went. 1. Tea\n\nMilk")
    assert script.part() == '"Well!" she said... and went. 1. Tea\n\n'
    assert script.part() is None
    script.finished = True
    assert (script.part(), script.part()) == ("Milk", None)


def test_a_text_without_an_end_is_cut_between_words() -> None:
    script = Script()
    script.add("word " * 2_000)
    script.finished = True
    parts = list(takewhile(bool, (script.part() for _ in range(9))))
    assert "".join(filter(None, parts)) == "word " * 2_000
    assert all(part.endswith("word ") and len(part) <= MAX_PART_CHARS for part in parts if part)
