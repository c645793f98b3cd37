"""Streams that fail before the conversation is over."""

import pytest

from pipelines import replies, speak
from pipelines.converse_events import ReplyFinished, ReplyStarted, SpeechDelta, TextDelta
from pipelines.effects import StreamOutput
from pipelines.transcribe_events import Completed, Failed, GaveUp
from tests.pipelines.converse import MANUAL, Story, answers, changed, check_replies, written
from tests.pipelines.listen import said
from tests.pipelines.think import Brain, Fails

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
SILENT = changed(MANUAL, audio=False)


def asked(brain: Brain | None = None, *, audio: bool = True) -> Story:
    """A conversation in which a reply to a written question was just asked for."""
    story = Story(config=MANUAL if audio else SILENT, brain=brain)
    story.create_item(written("Hello?"))
    story.reply()
    return story


def error(story: Story) -> tuple[str, str | None]:
    outcome = story.told(ReplyFinished)[-1].outcome
    return outcome.status, outcome.code


def speaker(story: Story) -> str:
    """Name of the one stream to the speaker."""
    (name,) = [name for name in story.streams if name.startswith("speak")]
    return name


# --- the speaker ---


@pytest.mark.parametrize("kind", ["error", "refused"])
def test_a_reply_that_cannot_be_spoken_fails_and_is_thought_no_further(kind: str) -> None:
    story = asked(answers(LONG, "Fine.")).wait_until(SpeechDelta)
    story.lose(speaker(story), kind, "model_error")
    assert error(story) == ("failed", "model_error")
    assert story.think.cancels == 1
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.outcomes[1] == ("completed", None)
    assert story.spoken(story.told(ReplyStarted)[1].reply) == "Fine."
    check_replies(story)


def test_a_guess_that_cannot_be_spoken_is_told_as_failed_and_says_nothing_after_that() -> None:
    story = Story(said(1, 2, "hello there"), brain=answers(LONG)).hear(2.4)
    story.lose(speaker(story), "error", "model_error").hear(3)
    assert error(story) == ("failed", "model_error")
    check_replies(story)


def test_no_free_slot_to_speak_fails_the_reply() -> None:
    story = Story(config=MANUAL)
    story.refuse("speak")
    story.create_item(written("Hello?"))
    story.reply()
    assert error(story) == ("failed", "server_full")
    story.refuse()
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.outcomes[-1] == ("completed", None)
    check_replies(story)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("token_s", [0.0, 0.02])
def test_a_lost_speaker_is_replaced_and_goes_on_where_it_was(token_s: float, delay_s: float) -> None:
    """Whether its text is complete or not."""
    story = asked(answers(LONG, token_s=token_s)).wait(delay_s)
    reply = story.told(ReplyStarted)[0].reply
    said_before = story.spoken(reply)
    story.lose(speaker(story)).wait_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert story.spoken(reply) == LONG
    _, second = story.speakers(reply)
    assert said_before + second.text == LONG
    (item,) = story.told(ReplyFinished)[0].items
    part = item.content[0]  # type: ignore[union-attr]
    assert part.samples * 2 == len(story.pcm(reply))
    assert [mark.sample for mark in part.marks] == sorted({mark.sample for mark in part.marks})
    assert part.marks[-1].sample == part.samples
    assert part.marks[-1].text == len(LONG)
    check_replies(story)


def test_a_speaker_that_is_lost_again_and_again_fails_the_reply() -> None:
    story = asked(answers(LONG)).wait(0.2)
    for _ in range(speak.MAX_FAILURES):
        story.lose(speaker(story))
        assert story.outcomes == []
    story.lose(speaker(story))
    assert error(story) == ("failed", "worker_lost")
    check_replies(story)


def test_speech_between_losses_makes_them_harmless() -> None:
    story = asked(answers(LONG))
    for _ in range(speak.MAX_FAILURES + 3):
        story.wait_until(SpeechDelta).lose(speaker(story))
    story.wait_until(ReplyFinished)
    assert story.spoken(story.told(ReplyStarted)[0].reply) == LONG


# --- the language model ---


@pytest.mark.parametrize("kind", ["lost", "error"])
def test_a_lost_language_model_fails_the_reply_and_the_next_works(kind: str) -> None:
    story = asked(answers(LONG, "Again."), audio=False).wait_until(TextDelta)
    story.lose("think", kind)
    assert error(story) == ("failed", "worker_lost")
    (item,) = story.told(ReplyFinished)[0].items
    assert item.status == "incomplete"
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.outcomes[-1] == ("completed", None)
    assert len([name for name, _ in story.opened if name == "think"]) == 2
    check_replies(story)


def test_a_reply_that_is_thought_to_its_end_is_spoken_though_the_language_model_is_lost() -> None:
    story = asked(answers("One clause, and another.")).wait_until(SpeechDelta)
    assert not story.think.busy
    story.lose("think").wait_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert story.spoken(story.told(ReplyStarted)[0].reply) == "One clause, and another."
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.outcomes[-1] == ("completed", None)


def test_a_guess_that_is_lost_is_made_again_once_the_turn_is_over() -> None:
    story = Story(said(1, 2, "hello there")).hear(2.3)
    assert len(story.prompts) == 1
    story.lose("think").hear_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert len(story.prompts) == 2
    check_replies(story)


def test_a_reply_that_waits_for_a_transcript_does_not_notice_a_lost_language_model() -> None:
    story = Story(said(0.2, 1, "hello there"), config=MANUAL, final_lag=lambda segment: 16_000).hear(1.5)
    story.commit().reply()
    story.lose("think").hear_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert story.prompts[0][-1] == {"role": "user", "content": "hello there"}


def test_gives_up_when_the_language_model_is_lost_again_and_again() -> None:
    story = Story()
    for _ in range(replies.MAX_FAILURES):
        story.lose("think")
        assert story.told(GaveUp) == []
    story.lose("think", code="still_gone")
    assert story.told(GaveUp) == [GaveUp("still_gone", "gone")]


def test_words_between_losses_make_them_harmless() -> None:
    story = asked(answers(LONG), audio=False)
    for _ in range(replies.MAX_FAILURES + 2):
        story.wait_until(TextDelta).lose("think")
        story.reply()
    assert story.told(GaveUp) == []


@pytest.mark.parametrize("service", ["think", "listen"])
def test_gives_up_when_there_is_no_free_slot(service: str) -> None:
    story = Story()
    story.refuse(service)
    story.lose(service)
    assert [event.code for event in story.told(GaveUp)] == ["server_full"]


@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("said_before", ["", "Well, let me see. "])
def test_a_request_that_fails_fails_its_reply_only(said_before: str, audio: bool) -> None:
    story = asked(answers([said_before, Fails("endpoint_error", "garbage")], "Fine."), audio=audio)
    story.wait_until(ReplyFinished)
    assert error(story) == ("failed", "endpoint_error")
    assert story.told(ReplyFinished)[0].outcome.message == "garbage"
    assert [item.status for item in story.told(ReplyFinished)[0].items] == ["incomplete"] * bool(said_before)
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.outcomes[-1] == ("completed", None)
    check_replies(story)


# --- the listener ---


def test_a_turn_whose_audio_is_lost_gets_no_reply_and_the_next_does() -> None:
    story = Story(said(1, 2, "lost for good"), said(4, 5, "heard again")).hear(2).lose("listen").hear(2)
    assert [failed.item for failed in story.told(Failed)] == ["item_1"]
    assert story.prompts == []
    story.hear_until(ReplyFinished)
    assert story.prompts[-1][1:] == [{"role": "user", "content": "heard again"}]
    check_replies(story)


def test_a_guess_about_a_turn_whose_audio_is_lost_is_right() -> None:
    story = Story(said(1, 2, "hello there")).hear(2.3).lose("listen").hear(3)
    assert len(story.prompts) == 1
    assert story.outcomes == [("completed", None)]
    check_replies(story)


def test_a_reply_does_not_wait_for_audio_that_is_lost() -> None:
    story = Story(said(0.2, 1, "hello there"), config=MANUAL, final_lag=lambda segment: 99 * 16_000).hear(1.5)
    story.create_item(written("Hello?"))
    story.commit().reply()
    assert story.prompts == []
    story.lose("listen").wait_until(ReplyFinished)
    assert story.prompts == [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]]


def test_listening_goes_on_with_a_new_stream_while_a_reply_is_spoken() -> None:
    story = Story(said(1, 2, "hello there"), brain=answers(LONG)).hear_until(SpeechDelta)
    story.lose("listen").hear_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert len(story.told(Completed)) == 1


def test_an_output_of_no_reply_is_passed_by() -> None:
    story = asked(Brain(lambda messages: LONG, in_flight_s=1.0)).wait_until(SpeechDelta)
    story.cancel()
    count = len(story.effects)
    story.wait(5)
    assert len(story.effects) == count


def test_an_unknown_output_is_a_programming_error() -> None:
    story = asked()
    for name, service in (("think", "think"), (speaker(story), "speak")):
        with pytest.raises(ValueError, match=f"a {service} stream has no output 'nonsense'"):
            story.pipeline.on_output(name, StreamOutput("nonsense", meta={"number": 0}), story.now)
