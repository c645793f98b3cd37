"""Sessions whose audio comes and goes by tracks: the server plays, so it knows what was heard."""

from collections.abc import Iterable
from unittest.mock import Mock

from app.realtime.conversation_session import ConversationSession
from app.realtime.events import Error
from app.realtime.playout import FRAME_BYTES
from app.realtime.runner import MAX_UNHEARD_S, Bounds, Runner
from app.realtime.session import Close, Limits, Send
from app.realtime.transcription_session import TranscriptionSession
from tests.app.realtime.client import Client, Event
from tests.app.realtime.talker import CHUNK_S, Talker
from tests.pipelines.converse import answers
from tests.pipelines.listen import Utterance, said
from tests.pipelines.speak import tone
from tests.pipelines.think import Brain

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
WORD_S = 0.25
SAMPLES_PER_MS = 24
FRAME = bytes(640)
"""20 ms of 16 kHz."""
ENDING = ["output_audio_buffer.cleared", "conversation.item.truncated"]


class Caller(Talker):
    """A client that calls; each 20 ms it is heard, and hears."""

    def __init__(self, *utterances: Utterance, brain: Brain | None = None) -> None:
        super().__init__(*utterances, brain=brain)
        self.session = ConversationSession(self.session.state, Limits(), tracks=True)
        self.played = bytearray()
        self.stops: list[int] = []
        """How much had been played at each frame of silence."""

    def speak(self, seconds: float) -> list[Event]:
        return self._talk(seconds, heard=True)

    def wait(self, seconds: float) -> list[Event]:
        return self._talk(seconds, heard=False)

    def _talk(self, seconds: float, *, heard: bool) -> list[Event]:
        before = len(self.events)
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            if heard:
                self.perform(self.session.hear(FRAME, self.now))
            self.run()
            pcm, effects = self.session.play()
            self.perform(effects)
            assert pcm is None or len(pcm) == FRAME_BYTES
            self.played += pcm or b""
        return self.events[before:]

    @property
    def played_ms(self) -> int:
        return len(self.played) // 2 // SAMPLES_PER_MS

    def transcript(self, item: str) -> str:
        """What an item is known to have said."""
        (found,) = self.send("conversation.item.retrieve", item_id=item)
        return str(found["item"]["content"][0]["transcript"])


def kinds(events: Iterable[Event]) -> list[str]:
    return [event["type"] for event in events]


def telling(answer: str = LONG) -> Caller:
    """Somebody has asked, and hears the answer."""
    caller = Caller(brain=answers(answer))
    caller.manual()
    caller.say()
    caller.respond()
    return caller


def test_a_reply_is_played_and_told_when_it_begins_and_ends_to_be_heard() -> None:
    caller = telling("One two three, four five six.")
    caller.wait(4)
    response = caller.done()
    assert bytes(caller.played) == tone(6 * 6_000)
    assert caller.told("output_audio_buffer.started")[0]["response_id"] == response["id"]
    assert caller.told("output_audio_buffer.stopped")[0]["response_id"] == response["id"]
    assert not caller.told("response.output_audio.delta")
    assert "".join(e["delta"] for e in caller.told("response.output_audio_transcript.delta")) == (
        "One two three, four five six."
    )
    order = caller.kinds()
    assert order.index("output_audio_buffer.started") < order.index("response.done")
    assert order[-1] == "output_audio_buffer.stopped"


def test_an_interruption_ends_what_is_played_and_keeps_what_was_heard() -> None:
    caller = Caller(said(1, 2, "tell me a story"), said(6, 8, "stop"), brain=answers(LONG, "Yes."))
    caller.speak(5.9)
    assert caller.played_ms > 1_000
    told = caller.speak(0.6)
    heard_ms = caller.played_ms
    started = kinds(told).index("input_audio_buffer.speech_started")
    assert kinds(told)[started + 1 : started + 3] == ENDING
    (truncated,) = caller.told("conversation.item.truncated")
    assert (truncated["content_index"], truncated["audio_end_ms"]) == (0, heard_ms)
    transcript = caller.transcript(truncated["item_id"])
    assert LONG.startswith(transcript)
    assert len(transcript.split()) == heard_ms // (WORD_S * 1_000)
    caller.speak(0.5)
    assert caller.played_ms == heard_ms
    assert not caller.told("output_audio_buffer.stopped")


def test_an_interruption_of_a_reply_that_is_still_made_cancels_it() -> None:
    slow = answers(LONG, "Yes.", token_s=0.1)
    caller = Caller(said(1, 2, "tell me a story"), said(4.5, 5.5, "stop"), brain=slow)
    caller.speak(5.2)
    assert (caller.done()["status"], caller.done()["status_details"]["reason"]) == ("cancelled", "turn_detected")
    (truncated,) = caller.told("conversation.item.truncated")
    assert truncated["audio_end_ms"] == caller.played_ms
    caller.speak(4)
    assert len(caller.told("output_audio_buffer.started")) == 2
    assert caller.told("output_audio_buffer.stopped")[-1]["response_id"] == caller.done()["id"]


def test_whoever_does_not_want_interruptions_is_played_on() -> None:
    caller = Caller(said(1, 2, "tell me a story"), said(6, 8, "stop"), brain=answers(LONG, "Yes."))
    caller.listen(turn_detection={"type": "server_vad", "interrupt_response": False})
    caller.speak(7)
    assert len(caller.told("input_audio_buffer.speech_started")) == 2
    assert not caller.told("output_audio_buffer.cleared")
    before = caller.played_ms
    caller.speak(0.2)
    assert caller.played_ms == before + 200


def test_the_client_may_stop_what_is_played() -> None:
    caller = telling()
    caller.wait(3)
    heard_ms = caller.played_ms
    assert kinds(caller.send("output_audio_buffer.clear")) == ENDING
    (truncated,) = caller.told("conversation.item.truncated")
    assert truncated["audio_end_ms"] == heard_ms
    assert len(caller.transcript(truncated["item_id"]).split()) == heard_ms // (WORD_S * 1_000)
    caller.wait(1)
    assert caller.played_ms == heard_ms


def test_a_reply_that_is_stopped_while_it_is_made_ends() -> None:
    caller = Caller(brain=answers(LONG, token_s=0.1))
    caller.manual()
    caller.say()
    caller.respond()
    caller.wait(3.5)
    heard_ms = caller.played_ms
    assert heard_ms > 0
    told = kinds(caller.send("output_audio_buffer.clear"))
    assert told[0] == ENDING[0]
    assert told[-2:] == ["response.done", ENDING[1]]
    assert caller.done()["status"] == "cancelled"
    caller.wait(5)
    assert caller.played_ms == heard_ms


def test_where_nothing_is_played_there_is_nothing_to_stop() -> None:
    caller = Caller()
    assert caller.send("output_audio_buffer.clear") == []


def test_a_reply_apart_is_not_truncated_since_the_conversation_has_no_such_item() -> None:
    caller = Caller(brain=answers(LONG))
    caller.manual()
    caller.say()
    caller.respond(conversation="none")
    caller.wait(3)
    assert kinds(caller.send("output_audio_buffer.clear")) == ENDING[:1]
    before = caller.played_ms
    caller.wait(3)
    assert caller.played_ms == before


def test_audio_does_not_come_in_events() -> None:
    for session in (Caller(), transcribing()):
        (told,) = session.send("input_audio_buffer.append", audio="AAAA")
        assert told["type"] == "error"
        assert (told["error"]["code"], told["error"]["param"]) == ("unsupported_event", "type")


def test_what_a_track_brings_is_transcribed() -> None:
    client = transcribing(said(1, 2, "over the air"))
    for _ in range(round(4 / CHUNK_S)):
        client.now += CHUNK_S
        client.perform(client.session.hear(FRAME, client.now))
        client.listen()
    client.settle()
    assert client.transcripts() == ["over the air"]
    assert client.session.play() == (None, [])


async def test_a_session_that_cannot_take_what_it_hears_ends() -> None:
    client = transcribing()
    connection, streams, metrics = Mock(), Mock(), Mock()
    runner = Runner(client.session, connection, streams, metrics, Bounds(500, 20.0, 20.0))
    runner.hear(bytes(round(MAX_UNHEARD_S * 32_000)))
    assert runner._sending.empty()
    for _ in range(3):
        runner.hear(FRAME)
    error, close = runner._sending.get_nowait(), runner._sending.get_nowait()
    assert isinstance(error, Send)
    assert isinstance(error.event, Error)
    assert error.event.error.code == "overloaded"
    assert isinstance(close, Close)
    assert runner._sending.empty()


def transcribing(*utterances: Utterance) -> Client:
    """A transcription session with tracks."""
    client = Client(*utterances)
    client.session = TranscriptionSession(client.state, client.limits, tracks=True)
    return client
