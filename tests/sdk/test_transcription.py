"""`import millstream`: the client library against a real server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import millstream
from millstream import Event, Final, Partial, Reconnected, SpeechStarted, SpeechStopped, Transcription
from tests.e2e.speech import FAST, REFERENCE, clip, in_a_row, said, seconds, silence, spoken
from tests.server import Server, free_port, running_server

NAME = "sense_0870"


async def heard(transcription: Transcription, pcm: bytes | list[bytes], speed: float = FAST) -> list[Event]:
    """Every event while the audio, or each piece of a list at once, is sent and until all of it is transcribed."""

    async def send() -> None:
        if isinstance(pcm, list):
            for piece in pcm:
                await transcription.send(piece)
        else:
            async for piece in spoken(pcm, speed):
                await transcription.send(piece)
        await transcription.finish()

    sending = asyncio.create_task(send())
    try:
        return [event async for event in transcription]
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_turn(server: Server) -> None:
    async with millstream.transcribe(server.url) as transcription:
        events = await heard(transcription, clip(NAME) + silence(1), speed=2)

    (started,) = [event for event in events if isinstance(event, SpeechStarted)]
    (stopped,) = [event for event in events if isinstance(event, SpeechStopped)]
    (final,) = [event for event in events if isinstance(event, Final) and event.text]
    partials = [event for event in events if isinstance(event, Partial)]
    assert started.at < 0.5 < stopped.at < 8.1
    assert {started.item, stopped.item, *(partial.item for partial in partials)} == {final.item}
    assert said(final.text, REFERENCE[NAME]) <= 0.1
    assert final.seconds == pytest.approx(stopped.at - started.at, abs=0.01)
    assert len(partials) >= 2
    assert said("".join(partial.delta for partial in partials), final.text) <= 0.2


async def test_what_follows_the_last_pause_is_transcribed_too(server: Server) -> None:
    names = ["sense_0890", "sense_0930"]
    async with millstream.transcribe(server.url, language="en") as transcription:
        events = await heard(transcription, in_a_row(names[:1], 1.0) + clip(names[1]))

    finals = [event for event in events if isinstance(event, Final) and event.text]
    assert len(finals) == 2
    for name, final in zip(names, finals, strict=True):
        assert said(final.text, REFERENCE[name]) <= 0.2


async def test_megabytes_at_once(server: Server) -> None:
    async with millstream.transcribe(server.url) as transcription:
        events = await heard(transcription, [silence(200) + clip(NAME) + silence(1)])

    assert said(_text(events), REFERENCE[NAME]) <= 0.1


async def test_client_that_is_slowed_down(server: Server) -> None:
    """Pieces of 5 ms as fast as they go: more events than the server takes, and no harm is done."""
    pcm, size = clip(NAME) + silence(1), 240
    async with millstream.transcribe(server.url) as transcription:
        events = await heard(transcription, [pcm[start : start + size] for start in range(0, len(pcm), size)])

    assert said(_text(events), REFERENCE[NAME]) <= 0.1


def _text(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Final) and event.text)


async def test_nothing_said(server: Server) -> None:
    async with millstream.transcribe(server.url) as transcription:
        await transcription.finish()
        assert [event async for event in transcription] == []


async def test_semantic_vad(server: Server) -> None:
    turns = {"type": "semantic_vad", "eagerness": "high"}
    async with millstream.transcribe(server.url, turn_detection=turns) as transcription:
        events = await heard(transcription, clip("sense_0890") + silence(4), speed=3)

    (stopped,) = [event for event in events if isinstance(event, SpeechStopped)]
    assert stopped.at < seconds(clip("sense_0890")) + 2
    finals = [event for event in events if isinstance(event, Final) and event.text]
    assert said(finals[0].text, REFERENCE["sense_0890"]) <= 0.15


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"language": "klingon"}, "session.audio.input.transcription.language"),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": "huge"}}, "session.audio.input.turn_detection"),
    ],
)
async def test_bad_option(server: Server, options: dict[str, object], param: str) -> None:
    with pytest.raises(millstream.ServerError) as caught:
        async with millstream.transcribe(server.url, **options):  # type: ignore[arg-type]
            pass
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert caught.value.code == "invalid_value"


@pytest.mark.parametrize("lookahead_ms", [-80, 100, 2_000])
async def test_unknown_lookahead(lookahead_ms: int) -> None:
    with pytest.raises(ValueError, match=f"lookahead_ms must be one of 0, 80, 480, 1040; got {lookahead_ms}"):
        async with millstream.transcribe(lookahead_ms=lookahead_ms):
            pass


@pytest.mark.parametrize("lookahead_ms", [0, 1_040])
async def test_lookahead_and_phrases(server: Server, lookahead_ms: int) -> None:
    options: dict[str, Any] = {"lookahead_ms": lookahead_ms, "phrases": ["Dashwood", "Norland Park"]}
    async with millstream.transcribe(server.url, **options) as transcription:
        events = await heard(transcription, clip(NAME) + silence(1))

    assert said(_text(events), REFERENCE[NAME]) <= 0.1


async def test_key(guarded_server: Server) -> None:
    async with millstream.transcribe(guarded_server.url, api_key="right-key") as transcription:
        events = await heard(transcription, clip("sense_0930") + silence(1))
        assert [event for event in events if isinstance(event, Final) and event.text]
    for key in (None, "wrong"):
        with pytest.raises(millstream.ServerError) as caught:
            async with millstream.transcribe(guarded_server.url, api_key=key):
                pass
        assert caught.value.code == "invalid_api_key"
        assert "key" in str(caught.value)


async def test_no_server() -> None:
    with pytest.raises(OSError, match="Connect call failed"):
        async with millstream.transcribe(f"http://127.0.0.1:{free_port()}"):
            pass
    with pytest.raises(ValueError, match="http://"):
        async with millstream.transcribe("127.0.0.1:8000"):
            pass


async def test_gateway_dies(tmp_path: Path) -> None:
    """One client goes on once it has been started again, with all it had said; another does not want to."""
    with running_server(tmp_path) as server:
        async with (
            millstream.transcribe(server.url, language="en") as lasting,
            millstream.transcribe(server.url, reconnect=None) as ending,
        ):
            for transcription in lasting, ending:
                async for piece in spoken(clip(NAME)[:96_000]):
                    await transcription.send(piece)
            server.part("gateway").kill()
            with pytest.raises(millstream.ServerError, match="closed"):
                async for _ in ending:
                    pass
            with pytest.raises(millstream.ServerError, match="closed"):
                await ending.send(clip(NAME))
            events = await heard(lasting, clip(NAME)[96_000:] + silence(1))

    assert [event.lost_s for event in events if isinstance(event, Reconnected)] == [0.0]
    assert said(_text(events), REFERENCE[NAME]) <= 0.1
