"""Turns and their texts while the server decides when a turn ends."""

from typing import Any

import pytest

from pipelines.transcribe import HARD_SEGMENT_SAMPLES
from pipelines.transcribe_events import Committed, Completed, Delta, SpeechStarted, SpeechStopped
from pipelines.transcribe_state import TranscribeConfig
from pipelines.transcript import Final, Item, Segment
from pipelines.turns import FRAME_SAMPLES, PAUSE_SAMPLES, SAMPLE_RATE_HZ, SemanticVad, ServerVad
from tests.pipelines.listen import HEARD_SAMPLES, Story, numbered, said, samples

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ


def test_one_turn() -> None:
    story = Story(said(1, 2, "hello there world")).hear(4)
    started, stopped = story.told(SpeechStarted)[0], story.told(SpeechStopped)[0]
    completed = story.told(Completed)[0]
    assert [type(event) for event in story.events if not isinstance(event, Delta)] == [
        SpeechStarted,
        SpeechStopped,
        Committed,
        Completed,
    ]
    assert started.item == stopped.item == completed.item == "item1"
    assert abs(started.pts - samples(0.7)) <= FRAME_SAMPLES
    assert abs(stopped.pts - samples(2.5)) <= FRAME_SAMPLES
    assert completed.text == story.deltas("item1") == "hello there world"
    assert completed.seconds == pytest.approx((stopped.pts - started.pts) / SAMPLE_RATE_HZ)


def test_partial_texts_arrive_before_the_turn_ends() -> None:
    story = Story(numbered(1, 5)).hear(4)
    assert story.told(Delta)
    assert story.told(SpeechStopped) == []
    assert story.deltas("item1").startswith("w0 w1 w2")


def test_two_turns_are_two_items() -> None:
    story = Story(said(1, 2, "first turn"), said(4, 5, "second turn")).hear(7)
    assert [completed.text for completed in story.told(Completed)] == ["first turn", "second turn"]
    assert [committed.item for committed in story.told(Committed)] == ["item1", "item2"]


def test_silence_makes_no_item_and_no_work() -> None:
    story = Story(said(3, 3.03)).hear(20)
    assert story.events == []
    assert {push.kind for push in story.stream.pushed} == {"audio", "release"}


def test_a_pause_within_a_turn_does_not_split_its_text() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=800))
    story = Story(said(1, 2, "before the pause"), said(2.4, 3.4, "and after it"), config=config).hear(5)
    assert [completed.text for completed in story.told(Completed)] == ["before the pause and after it"]
    assert story.deltas("item1") == "before the pause and after it"
    speculative, final = story.stream.kinds("transcribe")
    assert speculative.meta["segment"] == final.meta["segment"]
    assert speculative.pts < final.pts


@pytest.mark.parametrize("withdraws", [True, False])
@pytest.mark.parametrize("lag_s", [0, 0.1, 0.5, 1])
def test_a_speculative_text_that_arrives_after_speech_resumed_is_discarded(lag_s: float, withdraws: bool) -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=800))
    story = Story(
        said(1, 2, "before the pause"),
        said(2.3, 3.4, "and after it"),
        config=config,
        final_lag=lambda segment: samples(lag_s),
        withdraws=withdraws,
    )
    story.hear(6)
    assert [completed.text for completed in story.told(Completed)] == ["before the pause and after it"]


def test_a_speculative_text_is_not_told_while_speech_may_go_on() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=800))
    utterances = said(1, 2, "before the pause"), said(2.4, 3.4, "and after it")
    story = Story(*utterances, config=config, final_text=lambda text: f"{text}.").hear(5)
    assert story.told(Completed)[0].text == story.deltas("item1") == "before the pause and after it."


@pytest.mark.parametrize("lag_s", [0, 0.1, 0.5, 1])
def test_a_speculative_text_is_used_when_the_turn_ends(lag_s: float) -> None:
    story = Story(said(1, 2, "hello there world"), final_lag=lambda segment: samples(lag_s)).hear(5)
    (request,) = story.stream.kinds("transcribe")
    assert request.pts - samples(2) <= PAUSE_SAMPLES + FRAME_SAMPLES
    assert story.told(Completed)[0].text == "hello there world"


def test_a_text_that_is_known_at_the_pause_completes_with_the_turn() -> None:
    story = Story(said(1, 2, "hello there world")).hear(4)
    kinds = [type(event) for event in story.events]
    assert kinds.index(Completed) > kinds.index(Committed)
    assert story.told(Delta)[-1].text.endswith("world")


def test_a_turn_that_ends_without_a_pause_is_transcribed_at_its_end() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=0))
    story = Story(said(1, 2, "hello there world"), config=config).hear(3)
    (request,) = story.stream.kinds("transcribe")
    assert request.pts == story.told(SpeechStopped)[0].pts
    assert story.told(Completed)[0].text == "hello there world"


@pytest.mark.parametrize("chunk_s", [0.01, 0.1, 100])
def test_long_speech_is_cut_into_segments_and_nothing_is_lost(chunk_s: float) -> None:
    speech = numbered(1, 101)
    story = Story(speech).hear(103, chunk_s).settle()
    (completed,) = story.told(Completed)
    assert completed.text == story.deltas("item1") == speech.text
    requests = story.stream.kinds("transcribe")
    assert len(requests) >= 7
    assert all(request.pts - request.meta["start"] <= HEARD_SAMPLES for request in requests)
    ends = [request.pts for request in requests]
    assert [request.meta["start"] for request in requests[1:]] == ends[:-1]
    assert [final.text for _, _, final in completed.segments] != []


def test_a_long_segment_is_cut_where_speech_is_least_likely() -> None:
    speech = numbered(1, 21)
    dip = said(11, 11.1, "", probability=0.4)
    story = Story(*[said(1, 11), said(11.1, 21)], dip).hear(16)
    (cut,) = story.stream.kinds("transcribe")
    assert samples(11) <= cut.pts <= samples(11.1)
    assert Story(speech).hear(16).stream.kinds("transcribe")[0].pts < HARD_SEGMENT_SAMPLES


def test_a_pause_after_eight_seconds_ends_the_segment_but_not_the_turn() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=1_000))
    first, second = numbered(1, 10, "a"), numbered(10.4, 12.4, "b")
    story = Story(first, second, config=config).hear(15)
    cut, end = story.stream.kinds("transcribe")
    assert samples(10.2) <= cut.pts <= samples(10.3)
    assert end.meta["start"] == cut.pts
    (completed,) = story.told(Completed)
    assert completed.text == story.deltas("item1") == f"{first.text} {second.text}"
    assert len(completed.segments) == 2


def test_a_pause_before_eight_seconds_does_not_end_the_segment() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=1_000))
    story = Story(numbered(1, 7, "a"), numbered(7.4, 9.4, "b"), config=config).hear(12)
    assert len({push.meta["segment"] for push in story.stream.kinds("transcribe")}) == 1


def test_segments_of_a_language_without_spaces_join_without_them() -> None:
    story = Story(numbered(1, 20), final_text=lambda text: "字", language="zh", partial_lag=samples(99)).hear(22)
    (completed,) = story.told(Completed)
    assert completed.text == story.deltas("item1") == "字字"


def test_deltas_of_a_language_without_spaces_do_not_repeat_what_was_cut() -> None:
    characters = [chr(0x4E00 + number) for number in range(80)]
    story = Story(said(1, 41, " ".join(characters)), language="zh", separator="").hear(43)
    assert story.told(Completed)[0].text == story.deltas("item1") == "".join(characters)


def test_a_final_with_fewer_words_takes_none_from_the_next_segment() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=1_000))
    story = Story(
        numbered(1, 10, "a"),
        numbered(10.4, 13.4, "b"),
        config=config,
        final_text=lambda text: text.replace("a1 a2 ", ""),
    )
    assert story.hear(16).deltas("item1").endswith(" b0 b1 b2 b3 b4 b5")


def test_speech_as_quiet_as_the_threshold_allows_is_transcribed_to_its_end() -> None:
    config = TranscribeConfig(ServerVad(threshold=0.2))
    speech = numbered(1, 31)._replace(probability=0.22)
    story = Story(speech, config=config).hear(33)
    assert story.told(Completed)[0].text == speech.text


def test_prefix_padding_does_not_reach_into_the_last_item() -> None:
    config = TranscribeConfig(ServerVad(silence_duration_ms=100, prefix_padding_ms=2_000))
    story = Story(said(1, 2, "one"), said(2.5, 3.5, "two"), config=config).hear(5)
    assert [started.pts for started in story.told(SpeechStarted)] == [0, story.told(SpeechStopped)[0].pts]
    assert [completed.text for completed in story.told(Completed)] == ["one", "two"]


@pytest.mark.parametrize("prefix_ms", [0, 100, 300, 1_000, 10_000])
def test_a_turn_begins_with_the_prefix_padding(prefix_ms: int) -> None:
    config = TranscribeConfig(ServerVad(prefix_padding_ms=prefix_ms))
    story = Story(said(20, 21, "late words"), config=config).hear(24)
    onset = samples(20) - prefix_ms * 16
    assert abs(story.told(SpeechStarted)[0].pts - onset) <= FRAME_SAMPLES
    assert story.told(Completed)[0].text == "late words"


def test_a_long_prefix_of_silence_is_not_transcribed() -> None:
    config = TranscribeConfig(ServerVad(prefix_padding_ms=10_000))
    story = Story(numbered(20, 30), config=config).hear(32)
    assert story.told(Completed)[0].text == numbered(20, 30).text
    assert all(request.pts > samples(20) for request in story.stream.kinds("transcribe"))


@pytest.mark.parametrize(("probability", "ended"), [(0.49, False), (0.5, True)])
def test_semantic_turns_end_when_judged_complete(probability: float, ended: bool) -> None:
    config = TranscribeConfig(SemanticVad())
    story = Story(said(1, 2, "is that all"), config=config, finished=lambda pts: probability).hear(3)
    assert bool(story.told(SpeechStopped)) is ended
    assert [completed.text for completed in story.told(Completed)] == (["is that all"] if ended else [])
    assert len(story.stream.kinds("transcribe")) == 1


@pytest.mark.parametrize("lag_s", [0, 0.2, 0.4, 0.9])
def test_semantic_turns_end_however_slow_the_judgement(lag_s: float) -> None:
    config = TranscribeConfig(SemanticVad())
    story = Story(said(1, 2, "is that all"), config=config, judge_lag=samples(lag_s), finished=lambda pts: 1.0)
    story.hear(4)
    (stopped,) = story.told(SpeechStopped)
    assert stopped.pts <= samples(2.3 + lag_s) + FRAME_SAMPLES


def test_a_judgement_from_before_speech_resumed_does_not_end_the_turn() -> None:
    config = TranscribeConfig(SemanticVad())
    story = Story(
        said(1, 2, "well"),
        said(2.4, 4, "not yet done"),
        config=config,
        judge_lag=samples(0.3),
        finished=lambda pts: 1.0 if pts < samples(3) else 0.0,
    )
    story.hear(9)
    (stopped,) = story.told(SpeechStopped)
    assert stopped.pts == pytest.approx(samples(8), abs=FRAME_SAMPLES)
    assert story.told(Completed)[0].text == "well not yet done"


def test_semantic_turns_are_asked_about_again_while_silence_lasts() -> None:
    config = TranscribeConfig(SemanticVad())
    story = Story(said(1, 2, "well"), config=config, finished=lambda pts: float(pts > samples(2.9))).hear(4)
    asked = [push.pts for push in story.stream.kinds("judge")]
    assert len(asked) == 4
    assert asked[-2] < samples(2.9) < asked[-1] <= story.told(SpeechStopped)[0].pts < samples(3.4)


def test_items_complete_in_order_even_if_their_texts_do_not() -> None:
    story = Story(
        said(1, 2, "slow one"),
        said(3, 4, "quick two"),
        said(5, 6, "quick three"),
        final_lag=lambda segment: samples(6) if segment == 1 else 0,
    )
    story.hear(8)
    assert story.told(Completed) == []
    story.hear(2)
    assert [completed.text for completed in story.told(Completed)] == ["slow one", "quick two", "quick three"]
    assert [story.deltas(f"item{n}") for n in (1, 2, 3)] == ["slow one", "quick two", "quick three"]


def test_segments_join_in_order_even_if_their_texts_do_not_arrive_so() -> None:
    speech = numbered(1, 40)
    story = Story(speech, final_lag=lambda segment: samples(20) if segment == 1 else 0).hear(50).settle()
    assert story.told(Completed)[0].text == story.deltas("item1") == speech.text


def test_after_a_final_that_contradicts_the_deltas_they_go_on_with_the_words_that_are_missing() -> None:
    story = Story(numbered(1, 5), final_text=str.upper).hear(7)
    assert story.told(Completed)[0].text == numbered(1, 5).text.upper()
    partial, _, rest = story.deltas("item1").partition(" W")
    told = partial.split()
    assert told[:3] == ["w0", "w1", "w2"]
    assert [*told, *f"W{rest}".split()] == [*told, *numbered(1, 5).text.upper().split()[len(told) :]]


def test_words_and_segments_are_told_in_session_time() -> None:
    story = Story(said(1, 2, "hello there"), config=TranscribeConfig(words=True)).hear(4)
    ((start, end, final),) = story.told(Completed)[0].segments
    assert [(word.text, word.start, word.end) for word in final.words] == [
        ("hello", samples(1), samples(1.5)),
        ("there", samples(1.5), samples(2)),
    ]
    assert start == pytest.approx(0.7, abs=FRAME_S)
    assert end == pytest.approx(2.2, abs=FRAME_S)


def test_options_reach_the_recogniser() -> None:
    options: dict[str, Any] = {"language": "fr", "prompt": "a name", "phrases": ["Zürich"], "lookahead_ms": 480}
    story = Story(said(1, 2, "hello"), config=TranscribeConfig(**options)).hear(4)
    for kind in ("follow", "transcribe"):
        assert [{name: push.meta[name] for name in options} for push in story.stream.kinds(kind)] == [options]


def test_turns_alone_cost_no_recognition() -> None:
    story = Story(said(1, 2, "hello"), said(4, 5, "again"), config=TranscribeConfig(transcribe=False)).hear(8)
    assert len(story.told(SpeechStarted)) == len(story.told(SpeechStopped)) == len(story.told(Committed)) == 2
    assert story.told(Delta) == []
    assert {push.kind for push in story.stream.pushed} == {"audio", "release"}


@pytest.mark.parametrize("final_lag_s", [0, 1])
def test_audio_is_released_promptly_in_long_sessions(final_lag_s: float) -> None:
    utterances = [numbered(start, start + 20, f"u{start}_") for start in range(1, 300, 25)]
    story = Story(*utterances, final_lag=lambda segment: samples(final_lag_s))
    held = []
    for _ in range(600):
        story.hear(0.5)
        held.append(story.stream.unreleased)
    assert max(held) <= samples(16 + final_lag_s)
    assert story.stream.waiting == 0
    assert " ".join(completed.text for completed in story.told(Completed)) == " ".join(u.text for u in utterances)


def test_what_the_pipeline_remembers_stays_small() -> None:
    story = Story(*[said(start, start + 1, "a word or two") for start in range(1, 120, 3)]).hear(122)
    state = story.pipeline.state
    assert len(story.told(Completed)) == 40
    assert state.items == []
    assert state.markers == []
    assert len(state.frames) < 200


# --- a streaming recogniser, and another for the final text ---


STREAMING: dict[str, Any] = {"streaming": 2_560, "partial_text": str.lower}


def test_deltas_of_one_recogniser_go_on_in_the_text_of_another() -> None:
    story = Story(
        said(1, 3, "What is the largest ocean"), final_text=lambda text: f"{text} on Earth?", **STREAMING
    ).hear(5)
    assert story.told(Completed)[0].text == "What is the largest ocean on Earth?"
    assert story.deltas("item1") == "what is the largest ocean on Earth?"


def test_deltas_of_a_long_item_with_two_recognisers() -> None:
    speech = said(1, 61, " ".join(f"Word{number}," for number in range(120)))
    story = Story(speech, final_lag=lambda segment: samples(0.4), **STREAMING).hear(64)
    assert story.told(Completed)[0].text == speech.text
    assert story.deltas("item1").lower() == speech.text.lower()
    assert len(story.told(Delta)) > 100


@pytest.mark.parametrize(
    ("told", "final", "rest"),
    [
        ("what is the larg", "What is the largest ocean?", "est ocean?"),
        ("what is the largest ocean", "What is the largest ocean?", "?"),
        ("the the largest ocean", "The largest ocean in sight", " in sight"),
        ("largest ocean", "The largest ocean in sight", " in sight"),
        ("i'm here", "I am here now", " now"),
        ("it costs twenty five dollars", "It costs $25 today", ""),
        ("uh", "", ""),
        ("STRASSE nach", "Straße nach Rom", " Rom"),
        ("...", "Well", " Well"),
    ],
)
def test_where_a_final_text_goes_on(told: str, final: str, rest: str) -> None:
    segment = Segment(1, 0, closed=True, emitted=told, final=Final(final, "en"))
    assert Item("item", 0, [segment], end=1).new_text() == rest


def test_noise_after_the_last_word_ends_the_turn() -> None:
    story = Story(said(1, 2, "hello there"), said(2, 30), **STREAMING).hear(12)
    stopped, *_ = story.told(SpeechStopped)
    assert stopped.pts == pytest.approx(samples(2 + 3.5), abs=4_000)
    assert story.told(Completed)[0].text == "hello there"


def test_without_a_streaming_recogniser_noise_is_speech() -> None:
    assert Story(said(1, 2, "hello there"), said(2, 30)).hear(12).told(SpeechStopped) == []
