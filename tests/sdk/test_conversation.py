"""`import millstream`: talking with a real server."""

from typing import Any

import httpx
import pytest

import millstream
from millstream import (
    Final,
    Refused,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
)
from tests.e2e.speech import REFERENCE, clip, file, said, seconds, silence
from tests.sdk.talk import LONG, SHORT, talking
from tests.server import Server, free_port

NAME = "sense_0930"
STORIES = "You are a story teller. Tell a very long story about a fox in the forest, in many sentences."


async def test_turn(server: Server) -> None:
    async with talking(server.url, SHORT, voice="nova", language="en") as talk:
        await talk.say(clip(NAME) + silence(1))
        done = await talk.wait(ReplyDone)

    assert not talk.all(Refused)
    (started,), (stopped,), (final,) = talk.all(SpeechStarted), talk.all(SpeechStopped), talk.all(Final)
    assert started.item == stopped.item == final.item
    assert said(final.text, REFERENCE[NAME]) <= 0.1
    (reply,) = talk.all(ReplyStarted)
    assert done.response == reply.response
    assert done.status in ("completed", "incomplete")
    text, pcm = talk.reply(talk.all(ReplyAudio)[0].item)
    heard = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        data={"model": "whisper-1", "language": "en"},
        files={"file": ("reply.wav", file(pcm, "wav", "pcm_s16le"))},
    )
    assert said(heard.json()["text"], text) <= 0.25


async def test_interruption(server: Server) -> None:
    async with talking(server.url, LONG, instructions=STORIES) as talk:
        await talk.say(clip(NAME) + silence(1))
        await talk.wait(ReplyStarted)
        await talk.say(clip("sense_0890"))
        await talk.wait(SpeechStarted, 2)
        done = await talk.wait(ReplyDone)
        await talk.conversation.update({"max_output_tokens": SHORT})
        await talk.say(silence(1))
        again = await talk.wait(ReplyDone, 2)

    assert (done.status, done.problem) == ("cancelled", "turn_detected")
    assert again.status in ("completed", "incomplete")
    assert not talk.all(Refused)
    assert said(talk.all(Final)[1].text, REFERENCE["sense_0890"]) <= 0.15
    assert seconds(talk.reply(talk.all(ReplyAudio)[-1].item)[1]) > 0.3


async def test_turns_ended_by_hand(server: Server) -> None:
    async with talking(server.url, LONG, instructions=STORIES, turn_detection=None) as talk:
        await talk.say(clip(NAME))
        await talk.conversation.commit()
        item = (await talk.wait(ReplyAudio)).item
        await talk.conversation.cancel()
        done = await talk.wait(ReplyDone)
        await talk.conversation.truncate(item, 0.1)
        await talk.conversation.truncate(item, 1_000.0)
        refused = await talk.wait(Refused)

    assert not talk.all(SpeechStarted)
    assert (done.status, done.problem) == ("cancelled", "client_cancelled")
    assert talk.all(Refused) == [refused]
    assert refused.param == "audio_end_ms"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"voice": "nobody"}, "session.audio.output.voice"),
        ({"speed": 9.0}, "session.audio.output.speed"),
        ({"language": "klingon"}, "session.audio.input.transcription.language"),
        ({"phrases": ["x" * 101]}, "session.audio.input.transcription.keywords"),
        ({"turn_detection": {"type": "magic"}}, "session.audio.input.turn_detection"),
    ],
)
async def test_bad_option(server: Server, options: dict[str, Any], param: str) -> None:
    with pytest.raises(millstream.ServerError) as caught:
        async with millstream.converse(server.url, **options):
            pass
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert caught.value.code == "invalid_value"


async def test_unknown_lookahead() -> None:
    with pytest.raises(ValueError, match="lookahead_ms must be one of 0, 80, 480, 1040; got 5"):
        async with millstream.converse(lookahead_ms=5):
            pass


async def test_key(guarded_server: Server) -> None:
    async with millstream.converse(guarded_server.url, api_key="right-key"):
        pass
    with pytest.raises(millstream.ServerError) as caught:
        async with millstream.converse(guarded_server.url):
            pass
    assert caught.value.code == "invalid_api_key"


async def test_no_server() -> None:
    with pytest.raises(OSError, match="Connect call failed"):
        async with millstream.converse(f"http://127.0.0.1:{free_port()}"):
            pass
    with pytest.raises(ValueError, match="http://"):
        async with millstream.converse("127.0.0.1:8000"):
            pass
