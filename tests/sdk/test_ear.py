"""Which audio is kept until it is transcribed, without a server."""

import base64
from typing import Any

import pytest

from millstream.events import Final, SpeechStarted, TranscriptFailed
from millstream.protocol.ear import BYTES_PER_S, UNHEARD_S, Ear

SECOND = bytes(BYTES_PER_S)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ear(clock: Clock) -> Ear:
    """One that keeps 30 s, and is connected."""
    ear = Ear(30.0, clock)
    assert ear.rewind() == 0
    return ear


def told(ear: Ear, kind: str, item: str, **fields: Any) -> Any:
    transcription = "" if kind.startswith("input") else "conversation.item.input_audio_transcription."
    return ear.take({"type": transcription + kind, "item_id": item, **fields})


def spoken(ear: Ear, item: str, start_s: float, end_s: float) -> None:
    told(ear, "input_audio_buffer.speech_started", item, audio_start_ms=start_s * 1_000)
    told(ear, "input_audio_buffer.speech_stopped", item, audio_end_ms=end_s * 1_000)
    told(ear, "input_audio_buffer.committed", item)


def transcribed(ear: Ear, item: str) -> Final:
    final = told(ear, "completed", item, transcript="Yes.", usage={"seconds": 1.0})
    assert isinstance(final, Final)
    return final


def replayed(ear: Ear) -> list[float | str]:
    """Seconds of audio, and other events, that a new connection is told."""
    return [
        len(base64.b64decode(event["audio"])) / BYTES_PER_S if "audio" in event else event["type"]
        for event in ear.replay()
    ]


def say(ear: Ear, seconds: int) -> None:
    for _ in range(seconds):
        assert len(list(ear.append(SECOND))) == 1


def test_what_is_transcribed_is_not_sent_again(ear: Ear) -> None:
    say(ear, 8)
    spoken(ear, "a", 1, 3)
    spoken(ear, "b", 4, 6)
    transcribed(ear, "a")
    assert ear.drop() == [TranscriptFailed("b", "connection_lost", "the connection was lost")]
    assert ear.rewind() == 0
    assert replayed(ear) == [5]
    started = told(ear, "input_audio_buffer.speech_started", "c", audio_start_ms=1_000)
    assert started == SpeechStarted("c", 4.0)


def test_what_is_too_long_ago_is_lost(ear: Ear) -> None:
    say(ear, 2)
    told(ear, "input_audio_buffer.speech_started", "a", audio_start_ms=1_000)
    say(ear, 38)
    ear.drop()
    assert ear.rewind() == 9
    assert replayed(ear) == [30]
    ear.drop()
    assert ear.rewind() == 0


def test_silence_is_neither_kept_nor_lost(ear: Ear, clock: Clock) -> None:
    """The server is not said to be behind by more than `UNHEARD_S`."""
    for _ in range(100):
        clock.now += 1
        say(ear, 1)
    ear.drop()
    assert ear.rewind() == 0
    assert replayed(ear) == [UNHEARD_S]


def test_audio_that_comes_faster_than_it_is_heard_is_no_silence(ear: Ear, clock: Clock) -> None:
    clock.now += 1
    say(ear, 40)
    ear.drop()
    assert ear.rewind() == 10
    assert replayed(ear) == [30]


def test_speech_during_an_outage_is_kept(ear: Ear, clock: Clock) -> None:
    say(ear, 2)
    told(ear, "input_audio_buffer.speech_started", "a", audio_start_ms=1_000)
    ear.drop()
    for _ in range(20):
        clock.now += 1
        say(ear, 1)
    assert ear.rewind() == 0
    assert replayed(ear) == [21]


def test_turns_ended_by_hand(ear: Ear, clock: Clock) -> None:
    ear.choose({"turn_detection": None})
    clock.now += 60
    say(ear, 20)
    assert [event["type"] for event in ear.commit({"type": "response.create"})][1] == "response.create"
    say(ear, 2)
    ear.drop()
    assert ear.rewind() == 0
    assert replayed(ear) == [20, "input_audio_buffer.commit", "response.create", 2]
    told(ear, "input_audio_buffer.committed", "a")
    transcribed(ear, "a")
    ear.drop()
    assert ear.rewind() == 0
    assert replayed(ear) == [2]


def test_nothing_waits_for_transcripts_that_nobody_wants(ear: Ear) -> None:
    ear.choose({"transcription": None})
    say(ear, 4)
    spoken(ear, "a", 1, 3)
    assert not ear.waiting
    ear.rewind()
    assert replayed(ear) == [1]
