"""Speech while the assistant is heard: who is interrupted, when, and what is told of it."""

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.converse_events import ItemFinished, ReplyFinished, ReplyStarted, SpeechDelta
from pipelines.effects import StreamOutput
from pipelines.items import Message
from pipelines.onset import has_words
from pipelines.transcribe_events import Cleared, Committed, Completed, Failed, SpeechStarted, SpeechStopped
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import SemanticVad
from tests.pipelines.converse import SEMANTIC, Story, answers, changed, check_replies, written
from tests.pipelines.listen import Utterance, said, samples
from tests.pipelines.speak import Voice

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
OPENING = said(1, 2, "tell me a story")


def interrupting(*utterances: Utterance, quick: bool = False, **script: Any) -> Story:
    """Semantic turn detection, at 3.9 s: a reply is thought and heard since 2.3 s, for 10 s, or is only played by now,
    if it is `quick`.
    """
    brain = answers(LONG, "All right.", token_s=0.01 if quick else 0.1)
    voice = Voice(clause_s=0.02 if quick else 0.1)
    return Story(OPENING, *utterances, config=SEMANTIC, brain=brain, voice=voice, **script).hear(3.9)


def later(lag_s: float) -> Callable[[int], int]:
    """A lag of every transcript but the first."""
    return lambda segment: samples(lag_s if segment > 1 else 0)


# --- at the onset ---


def test_silence_detection_interrupts_at_the_onset() -> None:
    brain = answers(LONG, "All right.", token_s=0.1)
    story = Story(OPENING, said(4, 5, "stop it please"), brain=brain).hear_until(ReplyStarted).hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(4.06, abs=0.04)
    assert story.outcomes == [("cancelled", "turn_detected")]
    assert story.when(ReplyFinished) == story.when(SpeechStarted, 1)
    assert story.think.cancels == 1
    assert list(story.streams) == ["listen", "think"]
    (item,) = story.told(ReplyFinished)[0].items
    assert item.status == "incomplete"
    story.hear(4)
    assert story.history()[0] == ("user", "tell me a story")
    assert story.history()[1][1] == story.spoken(story.told(ReplyStarted)[0].reply)
    assert story.history()[2:] == [("user", "stop it please"), ("assistant", "All right.")]
    check_replies(story)


def test_nothing_of_an_interrupted_reply_is_told_later() -> None:
    story = Story(OPENING, said(4, 5, "stop"), brain=answers(LONG, "All right.", token_s=0.1, in_flight_s=1.0))
    story.hear(4.2)
    spoken = story.spoken(story.told(ReplyStarted)[0].reply)
    assert story.outcomes == [("cancelled", "turn_detected")]
    story.hear(8)
    assert story.spoken(story.told(ReplyStarted)[0].reply) == spoken
    check_replies(story)


def test_a_reply_that_is_not_heard_yet_is_interrupted_too() -> None:
    brain = answers(LONG, "All right.", first_token_s=5)
    story = Story(OPENING, said(4, 5, "never mind"), brain=brain).hear(13)
    assert story.outcomes == [("cancelled", "turn_detected"), ("completed", None)]
    assert story.told(ReplyFinished)[0].items == []


@pytest.mark.parametrize("detection", [TranscribeConfig(), TranscribeConfig(SemanticVad())])
def test_a_reply_that_may_not_be_interrupted_goes_on(detection: TranscribeConfig) -> None:
    config = changed(listen=detection, interrupt_response=False)
    story = Story(OPENING, said(4, 5, "stop it please"), config=config, brain=answers(LONG, "Yes.")).hear(14)
    assert story.outcomes == [("completed", None)] * 2
    assert story.spoken(story.told(ReplyStarted)[0].reply) == LONG
    assert len(story.told(SpeechStarted)) == 2
    check_replies(story)


# --- once it is sure to be meant ---


@pytest.mark.parametrize("quick", [False, True])
def test_speech_interrupts_after_400_ms(quick: bool) -> None:
    """Whether the reply is in progress or only played."""
    story = interrupting(said(4, 6), quick=quick).hear_until(SpeechStarted)
    assert len(story.told(SpeechStarted)) == 2
    assert 4.4 <= story.when(SpeechStarted, 1) <= 4.55
    assert story.outcomes == [("completed", None)] if quick else [("cancelled", "turn_detected")]
    assert abs(story.told(SpeechStarted)[1].pts - samples(3.7)) <= 512


def test_a_word_interrupts_earlier() -> None:
    story = interrupting(said(4, 6, "no " * 26)).hear_until(SpeechStarted)
    assert 4.15 <= story.when(SpeechStarted, 1) <= 4.3
    assert story.outcomes == [("cancelled", "turn_detected")]


@pytest.mark.parametrize("filler", ["mm ", "uh-huh, "])
def test_fillers_interrupt_only_when_they_do_not_end(filler: str) -> None:
    story = interrupting(said(4, 6, filler * 26)).hear_until(SpeechStarted)
    assert 4.7 <= story.when(SpeechStarted, 1) <= 4.85


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("text", ["", "mm-hm", "Uh-huh.", "Hmm..."])
@pytest.mark.parametrize("lag_s", [0, 0.3, 2])
def test_a_cough_or_a_filler_interrupts_nobody(text: str, lag_s: float, quick: bool) -> None:
    story = interrupting(
        said(4, 4.3, "x"),
        quick=quick,
        final_lag=later(lag_s),
        final_text=lambda words: text if words == "x" else words,
    )
    before = story.kinds()
    story.hear(10)
    assert story.kinds() == before + ([] if quick else [ItemFinished, ReplyFinished])
    assert [role for role, _ in story.history()] == ["user", "assistant"]
    assert story.spoken(story.told(ReplyStarted)[0].reply) == LONG
    assert story.outcomes == [("completed", None)]
    state = story.pipeline.state
    assert (state.onset, state.unheard, state.ended) == (None, [], [])
    check_replies(story)


@pytest.mark.parametrize("lag_s", [0, 0.3, 1])
def test_a_short_word_is_recognised_late_but_not_lost(lag_s: float) -> None:
    story = interrupting(said(4, 4.25, "stop!"), final_lag=later(lag_s))
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(4.25 + 0.2 + lag_s, abs=0.06)
    assert story.outcomes == [("cancelled", "turn_detected")]
    story.hear(3)
    assert [kind for kind in story.kinds() if kind in (SpeechStarted, SpeechStopped, Committed, Completed)] == [
        SpeechStarted,
        SpeechStopped,
        Committed,
        Completed,
    ] * 2
    assert story.history()[2:] == [("user", "stop!"), ("assistant", "All right.")]
    assert story.outcomes[1:] == [("completed", None)]
    check_replies(story)


def test_speech_is_told_at_once_when_nobody_else_is_heard() -> None:
    story = Story(said(1, 1.2, "hi"), config=SEMANTIC).hear_until(SpeechStarted)
    assert story.when(SpeechStarted) == pytest.approx(1.06, abs=0.04)


def test_speech_is_told_at_once_after_the_reply_was_played() -> None:
    story = Story(said(1, 2, "hello"), said(6, 6.2, "hi"), config=SEMANTIC, brain=answers("Three words only.")).hear(5)
    (reply,) = story.told(ReplyStarted)
    assert story.when(SpeechDelta) + len(story.pcm(reply.reply)) / 48_000 < 5
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(6.06, abs=0.04)


def test_speech_while_the_reply_is_played_is_held_back_to_the_end_of_playback() -> None:
    utterances = said(1, 2, "hello"), said(3.1, 3.3, "hi")
    story = Story(*utterances, config=SEMANTIC, brain=answers("One two three four five six.")).hear_until(ReplyFinished)
    assert story.when(ReplyFinished) < 3
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(3.3 + 0.2, abs=0.06)


def test_a_reply_in_text_is_nothing_to_listen_to() -> None:
    config = changed(SEMANTIC, audio=False)
    story = Story(OPENING, said(4, 4.2, "hi"), config=config, brain=answers(LONG, token_s=0.1)).hear_until(ReplyStarted)
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(4.06, abs=0.04)
    assert story.outcomes == [("cancelled", "turn_detected")]


def test_speech_is_told_at_once_when_the_client_has_stopped_playback() -> None:
    story = interrupting(said(6, 6.2, "hi"), quick=True)
    (item,) = story.told(ReplyFinished)[0].items
    story.truncate_item(item.id, 1_000)
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(6.06, abs=0.04)


# --- before it is sure ---


def test_a_second_attempt_before_the_first_is_understood_is_meant() -> None:
    utterances = said(4, 4.2, "wait"), said(4.7, 4.9, "a minute")
    story = interrupting(*utterances, final_lag=later(2))
    story.hear_until(SpeechStarted)
    assert story.when(SpeechStarted, 1) == pytest.approx(4.76, abs=0.04)
    story.hear(8)
    items = [event.item for event in story.told(SpeechStarted)]
    assert len(set(items)) == 3
    assert [event.item for event in story.told(SpeechStopped)] == items
    assert [event.item for event in story.told(Committed)] == items
    assert [event.item for event in story.told(Completed)] == items
    assert [text for role, text in story.history() if role == "user"] == ["tell me a story", "wait", "a minute"]
    assert story.outcomes == [("cancelled", "turn_detected"), ("completed", None)]
    check_replies(story)


def test_what_the_client_commits_itself_is_told_though_it_was_a_cough() -> None:
    story = interrupting(said(4, 4.2)).hear(0.4)
    assert len(story.told(SpeechStarted)) == 1
    story.commit().hear(1)
    assert [event.item for event in story.told(SpeechStarted)] == [event.item for event in story.told(Committed)]
    assert len(story.told(Completed)) == 2
    check_replies(story)


def test_a_reply_does_not_wait_forever_for_a_cough_that_was_committed() -> None:
    story = interrupting(said(4, 4.2), vad_lag=samples(0.1)).hear(0.4)
    story.cancel()
    story.commit().reply()
    story.hear_until(ReplyFinished)
    assert story.outcomes == [("cancelled", "client_cancelled"), ("completed", None)]


def test_what_is_cleared_before_it_is_sure_is_never_told() -> None:
    story = interrupting(said(4, 4.3, "stop")).hear(0.3)
    before = len(story.kinds())
    story.clear().hear(2)
    assert story.kinds()[before:] == [Cleared]
    assert story.told(Cleared) == [Cleared()]
    assert story.pipeline.state.onset is None


def test_a_failure_before_it_is_sure_is_told_with_its_item() -> None:
    story = interrupting(said(4, 4.3, "stop")).hear(0.3)
    before = len(story.kinds())
    story.lose("listen")
    assert story.kinds()[before:] == [SpeechStarted, ItemFinished, ReplyFinished, SpeechStopped, Committed, Failed]
    check_replies(story)


def test_words_of_what_was_said_before_do_not_make_a_cough_speech() -> None:
    """An answer about earlier audio may come late."""
    story = interrupting(said(4, 4.3)).hear(0.25)
    late = StreamOutput("partial", samples(2), meta={"segment": 1, "text": "tell me a"})
    assert story.pipeline.on_output("listen", late, story.now) == []
    assert story.hear(3).outcomes == []
    assert len(story.told(SpeechStarted)) == 1


def test_a_truncated_item_says_what_was_heard_of_it() -> None:
    story = interrupting(said(4, 5, "stop it please")).hear_until(ReplyFinished)
    (item,) = story.told(ReplyFinished)[0].items
    assert isinstance(item, Message)
    story.truncate_item(item.id, 600)
    story.hear(5)
    assert story.prompts[-1][-2:] == [
        {"role": "assistant", "content": "Sentence number"},
        {"role": "user", "content": "stop it please"},
    ]


def test_an_item_is_never_told_to_have_been_said_while_it_is_not_sure() -> None:
    story = interrupting(said(4, 4.3, "mm"), final_lag=later(9)).hear(2)
    story.create_item(written("Hello?"))
    assert [role for role, _ in story.history()] == ["user", "assistant", "user"]
    assert story.history()[-1] == ("user", "Hello?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", False),
        ("...", False),
        ("Mm-hm.", False),
        ("hmm", False),
        ("Uh-huh", False),
        ("uh, um", False),
        ("Ah!", False),
        ("ooh", False),
        ("er", False),
        ("aha", False),
        ("no", True),
        ("Stop!", True),
        ("mm-hm, but", True),
        ("home", True),
        ("Her?", True),
        ("ja", True),
        ("是", True),
        ("да", True),
    ],
)
def test_fillers_are_no_words(text: str, words: bool) -> None:
    assert has_words(text) is words


def test_noise_in_which_a_streaming_recogniser_hears_no_word_interrupts_nobody() -> None:
    noise = said(4, 5.5)
    assert interrupted_at(noise) is not None
    assert interrupted_at(noise, streaming=2_560) is None
    assert interrupted_at(said(4, 5.5, "no wait please stop"), streaming=2_560) is not None


def interrupted_at(utterance: Utterance, **script: Any) -> float | None:
    """When the reply was interrupted by what was said."""
    story = interrupting(utterance, **script).hear(4)
    started = [at for at, effect in zip(story.times, story.effects, strict=True) if isinstance(effect, SpeechStarted)]
    return started[1] if len(started) > 1 else None
