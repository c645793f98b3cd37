"""Streams that end before the pipeline does."""

import pytest

from pipelines.effects import StreamOutput
from pipelines.transcribe import MAX_FAILURES
from pipelines.transcribe_events import (
    Cleared,
    CommitRefused,
    Committed,
    Completed,
    Delta,
    Failed,
    GaveUp,
    SpeechStarted,
    SpeechStopped,
)
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import FRAME_SAMPLES
from tests.pipelines.listen import Story, said, samples

MANUAL = TranscribeConfig(detection=None)


def test_a_stream_lost_in_mid_turn_fails_the_item_and_listening_goes_on() -> None:
    story = Story(said(1, 3, "lost for good"), said(5, 6, "heard again"), config=TranscribeConfig(words=True)).hear(2)
    story.lose()
    assert story.told(Failed) == [Failed("item1", "worker_lost", "gone")]
    assert len(story.streams) == 2
    story.hear(6)
    turn = [event for event in story.events if not isinstance(event, Delta)][-4:]
    assert [type(event) for event in turn] == [SpeechStarted, SpeechStopped, Committed, Completed]
    completed = story.told(Completed)[-1]
    assert completed.text == "heard again"
    assert abs(story.told(SpeechStarted)[-1].pts - samples(4.7)) <= FRAME_SAMPLES
    ((start, _, final),) = completed.segments
    assert start == pytest.approx(4.7, abs=0.04)
    assert final.words[0].start == samples(5)


def test_the_turn_in_which_a_stream_is_lost_ends_there_for_the_client() -> None:
    story = Story(said(1, 3, "lost for good")).hear(2).lose()
    assert [type(event) for event in story.events if not isinstance(event, Delta)] == [
        SpeechStarted,
        SpeechStopped,
        Committed,
        Failed,
    ]
    assert story.told(SpeechStopped) == [SpeechStopped("item1", samples(2))]


def test_every_item_without_its_text_fails() -> None:
    story = Story(said(1, 2, "one"), said(3, 4, "two"), final_lag=lambda segment: samples(99)).hear(6).lose()
    assert [failed.item for failed in story.told(Failed)] == ["item1", "item2"]
    assert [committed.item for committed in story.told(Committed)] == ["item1", "item2"]


def test_a_stream_lost_in_silence_is_replaced_without_a_word() -> None:
    story = Story(said(3, 4, "hello")).hear(2).lose()
    assert story.events == []
    story.hear(4)
    assert story.told(Completed)[0].text == "hello"


def test_a_lost_manual_buffer_fails_though_nothing_was_announced() -> None:
    story = Story(said(0, 1, "hello"), config=MANUAL).hear(1).lose()
    assert [type(event) for event in story.events] == [Failed]


@pytest.mark.parametrize("vad_lag_s", [0, 0.5, 99])
def test_manual_audio_is_not_lost_in_silence_even_if_not_analysed(vad_lag_s: float) -> None:
    story = Story(said(0, 1, "hello"), config=MANUAL, vad_lag=samples(vad_lag_s)).hear(1).lose()
    assert [type(event) for event in story.events] == [Failed]


def test_commits_that_a_lost_stream_did_not_reach_are_answered_in_order() -> None:
    story = Story(said(0, 3, "one two three"), config=MANUAL, vad_lag=samples(99))
    story.hear(1).commit("a").hear(1).commit("b").commit("c").lose()
    assert [type(event) for event in story.events] == [Committed, Committed, CommitRefused, Failed, Failed]
    assert story.told(CommitRefused) == [CommitRefused("c", 0)]
    assert [failed.item for failed in story.told(Failed)] == [committed.item for committed in story.told(Committed)]


def test_speech_that_was_not_analysed_is_not_taken_for_silence() -> None:
    story = Story(said(1, 2, "hello"), config=MANUAL, vad_lag=samples(1)).hear(2).commit().lose()
    assert [type(event) for event in story.events] == [Committed, Failed]


def test_a_commit_that_a_lost_stream_did_not_reach_closes_the_open_item() -> None:
    story = Story(said(0, 3, "one two three"), config=MANUAL, vad_lag=samples(0.5)).hear(2).commit().lose()
    (committed,), (failed,) = story.told(Committed), story.told(Failed)
    assert committed.item == failed.item


def test_a_clear_that_a_lost_stream_did_not_reach_is_answered() -> None:
    story = Story(said(0, 3, "one two three"), config=MANUAL, vad_lag=samples(99)).hear(1).clear().lose()
    assert [type(event) for event in story.events] == [Cleared]


def test_silence_that_was_committed_and_analysed_needs_no_stream() -> None:
    story = Story(config=MANUAL).hear(1).commit().lose()
    assert [type(event) for event in story.events] == [Committed, Completed]


def test_a_new_way_of_listening_survives_the_stream_that_did_not_reach_it() -> None:
    story = Story(said(3, 4, "hallo"), vad_lag=samples(0.5)).hear(1)
    story.configure(TranscribeConfig(language="de")).lose().hear(5)
    assert [push.meta["language"] for push in story.stream.kinds("transcribe")] == ["de"]


def test_an_error_of_the_stream_ends_it_too() -> None:
    story = Story(said(1, 3, "lost for good")).hear(2)
    error = {"code": "invalid_input", "message": "bad", "param": "language"}
    story.perform(story.pipeline.on_output(StreamOutput("error", meta=error)))
    assert story.told(Failed) == [Failed("item1", "invalid_input", "bad")]
    assert len(story.streams) == 2


def test_gives_up_after_too_many_failures_in_a_row() -> None:
    story = Story()
    for number in range(MAX_FAILURES):
        story.hear(1).lose()
        assert len(story.streams) == number + 2
    assert story.told(GaveUp) == []
    story.lose("still_gone")
    (gave_up,) = story.told(GaveUp)
    assert gave_up.code == "still_gone"
    assert len(story.streams) == MAX_FAILURES + 1


def test_failures_with_texts_between_them_are_not_in_a_row() -> None:
    story = Story(*[said(start + 1, start + 2, "hello") for start in range(0, 40, 4)])
    for _ in range(10):
        story.hear(4).lose()
    assert story.told(GaveUp) == []
    assert len(story.told(Completed)) == 10


def test_an_unknown_output_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Story().pipeline.on_output(StreamOutput("nonsense"))
