"""The official OpenAI client transcribes live."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    InputAudioBufferCommittedEvent,
    InputAudioBufferSpeechStartedEvent,
    InputAudioBufferSpeechStoppedEvent,
    RealtimeErrorEvent,
    RealtimeServerEvent,
    SessionCreatedEvent,
    SessionUpdatedEvent,
)

from tests.e2e.hearing import Heard, hearing
from tests.e2e.speech import FAST, REFERENCE, clip, g711, in_a_row, said, seconds, silence, spoken, words
from tests.server import Server

MID_SENTENCE_S = 1.24
"""Where the speaker of `sense_0930` is made to hesitate: "he might even have been | made amiable himself"."""
PACED = 1.0


class Caller:
    """A stock client in one session."""

    def __init__(self, connection: AsyncRealtimeConnection, heard: Heard[RealtimeServerEvent]) -> None:
        self._connection = connection
        self._heard = heard

    async def say(self, audio: bytes, speed: float = FAST, rate: int = 24_000, sample_bytes: int = 2) -> None:
        async for piece in spoken(audio, speed, rate, sample_bytes):
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

    async def commit(self) -> None:
        await self._connection.input_audio_buffer.commit()

    async def clear(self) -> None:
        await self._connection.input_audio_buffer.clear()

    async def update(self, audio_input: dict[str, Any], **fields: Any) -> None:
        """Change the session without waiting for the answer."""
        session: Any = {"type": "transcription", "audio": {"input": audio_input}, **fields}
        await self._connection.session.update(session=session)

    async def updated(self, audio_input: dict[str, Any], **fields: Any) -> Any:
        """Change the session. Returns `session.audio.input` as it is then."""
        count = len(self._heard.of("session.updated"))
        await self.update(audio_input, **fields)
        event = await self._heard.wait("session.updated", count + 1)
        assert isinstance(event, SessionUpdatedEvent)
        shown: Any = event.session
        return shown.audio.input

    async def completed(self, count: int = 1) -> ConversationItemInputAudioTranscriptionCompletedEvent:
        """The `count`-th final transcript."""
        event = await self._heard.wait("transcription.completed", count)
        assert isinstance(event, ConversationItemInputAudioTranscriptionCompletedEvent)
        return event

    async def wait(self, kind: str, count: int = 1) -> RealtimeServerEvent:
        return await self._heard.wait(kind, count)

    @property
    def kinds(self) -> list[str]:
        return self._heard.kinds

    def all(self, kind: type[Any]) -> list[Any]:
        """Every event of a type so far."""
        return [event for event in self._heard.events if isinstance(event, kind)]


@asynccontextmanager
async def calling(server: Server) -> AsyncIterator[Caller]:
    client = AsyncOpenAI(api_key="unused", base_url=f"{server.url}/v1")
    async with (
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
        hearing(connection, lambda event: event.type) as heard,
    ):
        yield Caller(connection, heard)


async def test_turn(server: Server) -> None:
    async with calling(server) as caller:
        created = await caller.wait("session.created")
        await caller.say(clip("sense_0870") + silence(1))
        completed = await caller.completed()

    assert isinstance(created, SessionCreatedEvent)
    assert created.session.type == "transcription"
    kinds = [kind for kind in caller.kinds if not kind.endswith("delta")]
    assert kinds == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
    ]
    (started,), (stopped,) = (
        caller.all(InputAudioBufferSpeechStartedEvent),
        caller.all(InputAudioBufferSpeechStoppedEvent),
    )
    (added,), (done,) = caller.all(ConversationItemAdded), caller.all(ConversationItemDone)
    (committed,) = caller.all(InputAudioBufferCommittedEvent)
    assert {started.item_id, stopped.item_id, committed.item_id, added.item.id, done.item.id} == {completed.item_id}
    assert committed.previous_item_id is None
    assert started.audio_start_ms < 500
    assert 6_500 < stopped.audio_end_ms < 8_100
    assert said(completed.transcript, REFERENCE["sense_0870"]) <= 0.1
    assert completed.usage.type == "duration"
    assert completed.usage.seconds == pytest.approx((stopped.audio_end_ms - started.audio_start_ms) / 1e3, abs=0.002)


async def test_words_come_while_they_are_spoken(server: Server) -> None:
    async with calling(server) as caller:
        await caller.say(clip("sense_0870"), PACED)
        early = "".join(delta.delta for delta in caller.all(ConversationItemInputAudioTranscriptionDeltaEvent))
        await caller.say(silence(1))
        completed = await caller.completed()

    deltas = caller.all(ConversationItemInputAudioTranscriptionDeltaEvent)
    assert len(early.split()) >= 5
    assert {delta.item_id for delta in deltas} == {completed.item_id}
    assert said("".join(delta.delta for delta in deltas), completed.transcript) <= 0.2
    assert said(completed.transcript, REFERENCE["sense_0870"]) <= 0.1


async def test_two_turns(server: Server) -> None:
    names = ["sense_0890", "sense_0930"]
    async with calling(server) as caller:
        await caller.say(in_a_row(names, 1.0))
        finals = [await caller.completed(1), await caller.completed(2)]

    first, second = caller.all(InputAudioBufferCommittedEvent)
    assert (first.previous_item_id, second.previous_item_id) == (None, first.item_id)
    assert [added.previous_item_id for added in caller.all(ConversationItemAdded)] == [None, first.item_id]
    assert [final.item_id for final in finals] == [first.item_id, second.item_id]
    for name, final in zip(names, finals, strict=True):
        assert said(final.transcript, REFERENCE[name]) <= 0.15
    starts = [event.audio_start_ms / 1e3 for event in caller.all(InputAudioBufferSpeechStartedEvent)]
    stops = [event.audio_end_ms / 1e3 for event in caller.all(InputAudioBufferSpeechStoppedEvent)]
    boundary = seconds(clip("sense_0890"))
    assert starts[0] < 0.5 < boundary - 0.5 < stops[0] < boundary + 1.0
    assert boundary + 0.5 < starts[1] < boundary + 1.6
    assert stops[0] <= starts[1] < stops[1] < boundary + 2 + seconds(clip("sense_0930"))


async def test_semantic_vad_ends_a_finished_turn(server: Server) -> None:
    async with calling(server) as caller:
        shown = await caller.updated({"turn_detection": {"type": "semantic_vad", "eagerness": "high"}})
        await caller.say(clip("sense_0890") + silence(3), PACED * 3)
        completed = await caller.completed()

    assert shown.turn_detection.eagerness == "high"
    (stopped,) = caller.all(InputAudioBufferSpeechStoppedEvent)
    assert stopped.audio_end_ms / 1e3 < seconds(clip("sense_0890")) + 2
    assert said(completed.transcript, REFERENCE["sense_0890"]) <= 0.15


async def test_semantic_vad_waits_for_the_rest_of_a_sentence(server: Server) -> None:
    audio = clip("sense_0930")
    middle = round(MID_SENTENCE_S * 24_000) * 2
    async with calling(server) as caller:
        await caller.updated({"turn_detection": {"type": "semantic_vad", "eagerness": "low"}})
        await caller.say(audio[:middle] + silence(3) + audio[middle:], PACED * 3)
        assert not caller.all(InputAudioBufferSpeechStoppedEvent)
        await caller.say(silence(9))
        completed = await caller.completed()

    (stopped,) = caller.all(InputAudioBufferSpeechStoppedEvent)
    assert stopped.item_id == completed.item_id
    assert said(completed.transcript, REFERENCE["sense_0930"]) <= 0.15


async def test_turns_left_to_the_client(server: Server) -> None:
    async with calling(server) as caller:
        shown = await caller.updated({"turn_detection": None})
        assert shown.turn_detection is None
        await caller.say(clip("sense_0930"))
        await caller.clear()
        await caller.wait("input_audio_buffer.cleared")
        await caller.commit()
        refused = await caller.wait("error")
        await caller.say(clip("sense_0890") + silence(1) + clip("sense_0920"))
        await caller.commit()
        completed = await caller.completed()

    assert isinstance(refused, RealtimeErrorEvent)
    assert refused.error.code == "input_audio_buffer_commit_empty"
    assert not caller.all(InputAudioBufferSpeechStartedEvent)
    assert said(completed.transcript, words(["sense_0890", "sense_0920"])) <= 0.15
    assert completed.usage.type == "duration"
    assert completed.usage.seconds == pytest.approx(seconds(clip("sense_0890") + clip("sense_0920")) + 1, abs=0.05)


@pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
async def test_telephone(server: Server, kind: str, law: Literal["pcm_mulaw", "pcm_alaw"]) -> None:
    async with calling(server) as caller:
        shown = await caller.updated({"format": {"type": kind}})
        await caller.say(g711(clip("sense_0920", 8_000) + silence(1, 8_000), law), rate=8_000, sample_bytes=1)
        completed = await caller.completed()

    assert shown.format.type == kind
    assert said(completed.transcript, REFERENCE["sense_0920"]) <= 0.2


async def test_language(server: Server) -> None:
    async with calling(server) as caller:
        await caller.say(clip("sense_0930") + silence(1))
        detected = await caller.completed(1)
        await caller.updated({"transcription": {"language": "de"}})
        await caller.say(clip("sense_0930") + silence(1))
        given = await caller.completed(2)
        await caller.update({"transcription": {"language": "klingon"}})
        refused = await caller.wait("error")
        await caller.updated({"transcription": {"language": "en"}})
        await caller.say(clip("sense_0930") + silence(1))
        english = await caller.completed(3)

    assert [_languages(event) for event in (detected, given, english)] == [["en"], ["de"], ["en"]]
    assert isinstance(refused, RealtimeErrorEvent)
    assert refused.error.param == "session.audio.input.transcription.language"
    assert "klingon" in refused.error.message
    assert said(english.transcript, REFERENCE["sense_0930"]) <= 0.15


def _languages(event: ConversationItemInputAudioTranscriptionCompletedEvent) -> list[str | None]:
    return [language.code for language in event.languages or []]


async def test_logprobs(server: Server) -> None:
    async with calling(server) as caller:
        await caller.say(clip("sense_0930") + silence(1))
        without = await caller.completed(1)
        await caller.updated({}, include=["item.input_audio_transcription.logprobs"])
        await caller.say(clip("sense_0930") + silence(1))
        completed = await caller.completed(2)

    assert without.logprobs is None
    assert completed.logprobs
    assert "".join(token.token for token in completed.logprobs).strip() == completed.transcript
    assert all(token.logprob <= 0 for token in completed.logprobs)
    assert all(bytes(token.bytes or []).decode() == token.token for token in completed.logprobs)


async def test_update_in_the_middle_of_a_session(server: Server) -> None:
    async with calling(server) as caller:
        await caller.updated({"transcription": {"model": "gpt-4o-transcribe", "prompt": "Sense and Sensibility"}})
        await caller.say(clip("sense_0890") + silence(1))
        await caller.completed(1)
        shown = await caller.updated({"turn_detection": None})
        await caller.say(clip("sense_0930"))
        await caller.commit()
        by_hand = await caller.completed(2)
        await caller.updated({"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}})
        await caller.say(clip("sense_0920") + silence(1))
        by_voice = await caller.completed(3)

    assert shown.transcription.model == "gpt-4o-transcribe"
    assert shown.transcription.prompt == "Sense and Sensibility"
    started = [event.item_id for event in caller.all(InputAudioBufferSpeechStartedEvent)]
    assert by_hand.item_id not in started
    assert by_voice.item_id in started
    assert said(by_hand.transcript, REFERENCE["sense_0930"]) <= 0.15


async def test_long_utterance(server: Server) -> None:
    names = [
        "sense_0870",
        "sense_0890",
        "sense_0920",
        "sense_0930",
        "sense_0870",
        "sense_0890",
        "sense_0920",
        "sense_0930",
    ]
    async with calling(server) as caller:
        await caller.updated({"turn_detection": {"type": "server_vad", "silence_duration_ms": 1_500}})
        await caller.say(in_a_row(names, 0.15) + silence(2))
        completed = await caller.completed()

    assert len(caller.all(InputAudioBufferCommittedEvent)) == 1
    assert said(completed.transcript, words(names)) <= 0.12
    deltas = caller.all(ConversationItemInputAudioTranscriptionDeltaEvent)
    assert said("".join(delta.delta for delta in deltas), completed.transcript) <= 0.1
