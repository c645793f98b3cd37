"""What the client asks of the audio buffer: commit, clear, listen differently."""

import pytest

from pipelines.transcribe_events import (
    Cleared,
    CommitRefused,
    Committed,
    Completed,
    Delta,
    SpeechStarted,
    SpeechStopped,
)
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import FRAME_SAMPLES, SemanticVad, ServerVad
from tests.pipelines.listen import Story, Utterance, numbered, said, samples

MANUAL = TranscribeConfig(detection=None)
SECOND = samples(1)


def texts(story: Story) -> list[str]:
    return [completed.text for completed in story.told(Completed)]


def manual(*utterances: Utterance, **script: object) -> Story:
    return Story(*utterances, config=MANUAL, **script)


def test_nothing_is_announced_before_a_manual_commit() -> None:
    story = manual(said(1, 2, "hello there")).hear(4)
    assert story.events == []
    story.commit()
    assert story.told(Committed) == [Committed("item1")]
    story.settle()
    assert texts(story) == ["hello there"]
    assert story.told(Completed)[0].seconds == 4.0


def test_a_manual_commit_ends_where_it_was_asked_for() -> None:
    story = manual(said(0.5, 1, "one"), said(1.5, 2, "two")).hear(1.25).commit().hear(1.25).commit().settle()
    assert texts(story) == ["one", "two"]
    assert [completed.seconds for completed in story.told(Completed)] == [1.25, 1.25]


@pytest.mark.parametrize("vad_lag_s", [0.1, 3, 99])
def test_commits_take_effect_where_they_were_asked_for_though_analysis_lags(vad_lag_s: float) -> None:
    story = manual(said(0.2, 0.9, "one"), said(1.2, 1.9, "two"), said(2.2, 2.9, "three"), vad_lag=samples(vad_lag_s))
    for _ in range(3):
        story.hear(1).commit()
    story.settle()
    assert texts(story) == ["one", "two", "three"]
    assert [request.pts for request in story.stream.kinds("transcribe")] == [SECOND, 2 * SECOND, 3 * SECOND]


def test_a_file_dumped_at_once_is_transcribed_whole() -> None:
    speech = numbered(0, 90)
    story = manual(speech).hear(90, chunk_s=90)
    assert story.stream.unreleased <= samples(30)
    story.commit().settle()
    assert texts(story) == [speech.text]


def test_a_commit_does_not_overtake_audio_that_waits_for_the_window() -> None:
    speech = numbered(0, 20)
    story = manual(speech, final_lag=lambda segment: samples(40), window=samples(20)).hear(20.01)
    assert story.stream.waiting > 0
    story.commit().hear(30).settle()
    assert texts(story) == [speech.text]
    assert max(request.pts for request in story.stream.kinds("transcribe")) == samples(20.01)


def test_long_silence_costs_no_recognition_and_is_released() -> None:
    story = manual(said(60, 61, "at last")).hear(62)
    assert story.stream.kinds("transcribe") == []
    assert max(push.pts for push in story.stream.kinds("release")) > samples(40)
    story.commit().settle()
    assert texts(story) == ["at last"]
    assert story.told(Completed)[0].seconds == 62.0


@pytest.mark.parametrize("silence_s", [9, 11, 13, 13.9, 14.1, 20])
def test_silence_before_speech_is_not_transcribed_by_itself(silence_s: float) -> None:
    speech = numbered(silence_s, silence_s + 6)
    story = manual(speech).hear(silence_s + 7).commit().settle()
    assert texts(story) == [speech.text]
    assert all(request.pts > samples(silence_s) for request in story.stream.kinds("transcribe"))


def test_committed_silence_completes_empty_and_costs_nothing() -> None:
    story = manual().hear(3).commit()
    assert texts(story) == [""]
    assert story.stream.kinds("transcribe") == []


def test_a_long_manual_buffer_is_transcribed_while_it_fills() -> None:
    speech = numbered(1, 61)
    story = manual(speech).hear(62)
    assert len(story.stream.kinds("transcribe")) >= 4
    assert story.stream.unreleased <= samples(16)
    story.commit().settle()
    assert texts(story) == [speech.text] == [story.deltas("item1")]


def test_a_manual_buffer_is_cut_at_pauses() -> None:
    story = manual(numbered(1, 10, "a"), numbered(11, 13, "b")).hear(14)
    (cut,) = story.stream.kinds("transcribe")
    assert samples(10) < cut.pts < samples(10.5)
    assert texts(story.commit().settle()) == [f"{numbered(1, 10, 'a').text} {numbered(11, 13, 'b').text}"]


@pytest.mark.parametrize("config", [MANUAL, TranscribeConfig()])
@pytest.mark.parametrize("milliseconds", [0, 1, 50, 99])
def test_a_commit_of_too_little_is_refused(config: TranscribeConfig, milliseconds: int) -> None:
    story = Story(config=config).hear(milliseconds / 1_000).commit("evt_1").settle()
    assert story.events == [CommitRefused("evt_1", milliseconds)]


def test_a_refused_commit_leaves_the_buffer() -> None:
    story = manual(said(0, 1, "still here")).hear(0.05).commit("evt_1").hear(1.95).commit().settle()
    assert texts(story) == ["still here"]
    assert story.told(Completed)[0].seconds == 2.0


def test_a_commit_of_the_least_amount_is_taken() -> None:
    story = manual().hear(0.1).commit().settle()
    assert story.told(Committed) == [Committed("item1")]


def test_a_second_commit_finds_the_buffer_empty() -> None:
    story = manual(said(0, 1, "once")).hear(2).commit("first").commit("second").settle()
    assert story.told(CommitRefused) == [CommitRefused("second", 0)]
    assert texts(story) == ["once"]


def test_a_commit_in_mid_turn_ends_the_item_and_the_rest_is_the_next() -> None:
    story = Story(said(1, 3, "one two three four")).hear(2).commit().hear(3)
    assert texts(story) == ["one two", "three four"]
    first, second = story.told(SpeechStarted)
    assert second.pts == 2 * SECOND
    assert [stopped.item for stopped in story.told(SpeechStopped)] == [second.item]
    assert first.item != second.item


def test_a_commit_in_a_pause_uses_the_text_that_was_made_ahead() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=1_000))
    story = Story(said(1, 2, "hello there"), config=config).hear(2.5).commit().hear(2)
    assert texts(story) == ["hello there"]
    assert len(story.stream.kinds("transcribe")) == 1


def test_a_commit_without_speech_makes_an_empty_item() -> None:
    story = Story().hear(3).commit()
    assert texts(story) == [""]
    assert story.told(SpeechStarted) == []
    assert story.stream.kinds("transcribe") == []


def test_a_commit_before_the_onset_is_sure_keeps_the_speech() -> None:
    story = Story(said(19.95, 20.05, "hi")).hear(20).commit().settle()
    assert story.told(Committed)
    (request,) = story.stream.kinds("transcribe")
    assert request.pts == samples(20)


def test_speech_too_quiet_for_a_turn_is_transcribed_if_committed() -> None:
    story = Story(said(19, 19.9, "psst", probability=0.4)).hear(20).commit().settle()
    assert len(story.stream.kinds("transcribe")) == 1


@pytest.mark.parametrize("config", [MANUAL, TranscribeConfig()])
def test_a_commit_after_more_quiet_speech_than_a_segment_holds(config: TranscribeConfig) -> None:
    """An earlier item that waits for its text keeps the audio from being released."""
    quiet = said(4, 24, " ".join(f"w{n}" for n in range(40)), probability=0.4)
    story = Story(said(1, 2, "first"), quiet, final_lag=lambda segment: samples(99)).hear(23)
    story.configure(config).hear(1).commit().settle()
    assert texts(story)[0] == "first"
    assert texts(story)[1].endswith("w38 w39")


def test_clear_forgets_the_buffer() -> None:
    story = manual(said(0, 1, "forget me"), said(2, 3, "keep me")).hear(1.5).clear().hear(2).commit().settle()
    assert story.told(Cleared) != []
    assert texts(story) == ["keep me"]
    assert story.told(Completed)[0].seconds == 2.0


def test_clear_in_mid_turn_drops_the_turn() -> None:
    story = Story(said(1, 3, "one two three four")).hear(2).clear().hear(4)
    assert texts(story) == ["three four"]
    first, second = story.told(SpeechStarted)
    assert story.told(Cleared) == [Cleared(first.item)]
    assert story.told(Committed) == [Committed(second.item)]
    assert second.pts == 2 * SECOND


def test_clear_does_not_touch_what_was_committed() -> None:
    story = manual(said(0, 1, "keep me"), final_lag=lambda segment: SECOND).hear(1.5).commit().clear().hear(2)
    assert texts(story) == ["keep me"]
    assert story.told(Cleared) == [Cleared(None)]


def test_clear_takes_effect_where_it_was_asked_for() -> None:
    story = manual(said(0, 1, "forget me"), said(1, 2, "keep me"), vad_lag=samples(99))
    story.hear(1).clear().hear(1).commit().settle()
    assert texts(story) == ["keep me"]


def test_text_of_a_cleared_buffer_is_never_told() -> None:
    story = manual(numbered(0, 20), final_lag=lambda segment: samples(8)).hear(20).clear().hear(10)
    assert story.told(Delta) == []


def test_configure_takes_effect_where_it_was_asked_for() -> None:
    story = Story(said(1, 2, "by hand"), said(4, 5, "by voice"), config=MANUAL, vad_lag=samples(99))
    story.hear(3).commit().configure(TranscribeConfig(language="de")).hear(4).settle()
    assert texts(story) == ["by hand", "by voice"]
    (started,) = story.told(SpeechStarted)
    assert started.pts > samples(3.5)
    assert [request.meta["language"] for request in story.stream.kinds("transcribe")] == [None, "de"]


def test_turns_can_be_left_to_the_client_after_long_silence() -> None:
    story = Story(said(10, 11, "hello there")).hear(9).configure(MANUAL).hear(3).commit().settle()
    assert texts(story) == ["hello there"]
    assert story.told(SpeechStarted) == []


@pytest.mark.parametrize("switch_s", [1.5, 2.05, 2.3, 2.6])
def test_turns_can_be_left_to_the_client_in_mid_turn(switch_s: float) -> None:
    vad = TranscribeConfig(ServerVad(silence_duration_ms=1_000))
    story = Story(said(1, 2, "one two"), said(4, 5, "three four"), config=vad)
    story.hear(switch_s).configure(MANUAL).hear(6 - switch_s)
    assert story.told(Committed) == []
    story.commit().settle()
    assert texts(story) == ["one two three four"]


@pytest.mark.parametrize("switch_s", [0.5, 1.5, 2.1, 2.3, 3])
def test_turns_can_be_taken_over_from_the_client(switch_s: float) -> None:
    story = Story(said(1, 2, "one two"), said(4, 5, "three four"), config=MANUAL)
    story.hear(switch_s).configure(TranscribeConfig()).hear(7 - switch_s)
    assert " ".join(texts(story)) == "one two three four"
    started, stopped = story.told(SpeechStarted), story.told(SpeechStopped)
    assert [event.item for event in started] == [event.item for event in stopped]
    assert len(started) == len(story.told(Committed)) > 0


def test_a_longer_prefix_does_not_reach_for_released_audio() -> None:
    story = Story(said(10, 11, "hello")).hear(9.9).configure(TranscribeConfig(ServerVad(prefix_padding_ms=5_000)))
    story.hear(3)
    assert texts(story) == ["hello"]
    assert story.told(SpeechStarted)[0].pts == story.stream.kinds("follow")[0].pts


def test_another_detection_applies_to_the_turn_in_progress() -> None:
    story = Story(said(1, 2, "hello"), config=TranscribeConfig(SemanticVad("low")))
    story.hear(3).configure(TranscribeConfig(ServerVad(silence_duration_ms=500))).hear(0.1)
    assert texts(story) == ["hello"]


def test_a_question_answered_under_another_detection_does_not_block_the_next() -> None:
    semantic = TranscribeConfig(SemanticVad())
    story = Story(said(1, 2, "hello"), config=semantic, judge_lag=samples(0.2), finished=lambda pts: 1.0)
    story.hear(2.3).configure(TranscribeConfig(ServerVad(silence_duration_ms=9_000))).hear(0.5)
    story.configure(semantic).hear(1)
    assert texts(story) == ["hello"]


def test_recognition_can_be_switched_off_and_on() -> None:
    story = Story(*[said(start, start + 1, f"turn {start}") for start in (1, 4, 7)])
    story.hear(3.5).configure(TranscribeConfig(transcribe=False)).hear(3).configure(TranscribeConfig()).hear(4)
    assert [(completed.text, completed.transcribed) for completed in story.told(Completed)] == [
        ("turn 1", True),
        ("", False),
        ("turn 7", True),
    ]


def test_a_text_asked_for_before_recognition_was_switched_off_still_arrives() -> None:
    story = manual(said(0, 1, "too late"), final_lag=lambda segment: SECOND).hear(1.5).commit()
    story.configure(TranscribeConfig(detection=None, transcribe=False)).hear(2)
    assert [(completed.text, completed.transcribed) for completed in story.told(Completed)] == [("too late", True)]


def test_many_short_commits_at_once_are_all_answered() -> None:
    words = [said(n * 0.2, n * 0.2 + 0.2, f"w{n}") for n in range(50)]
    story = manual(*words, vad_lag=samples(10), final_lag=lambda segment: samples(99))
    for _ in words:
        story.hear(0.2).commit()
    story.hear(10)
    assert len(story.stream.requests) == 50
    story.settle()
    assert texts(story) == [word.text for word in words]


def test_the_end_of_the_audio_that_fills_no_frame_belongs_to_the_item() -> None:
    length = 20 * FRAME_SAMPLES + 300
    story = manual(said(0, 1, "whole")).hear(length / 16_000).commit().settle()
    (request,) = story.stream.kinds("transcribe")
    assert request.pts == length
