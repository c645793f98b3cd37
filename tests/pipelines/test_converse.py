"""Turns and their replies: when a reply begins, to what, and what is told of it."""

from collections.abc import Callable

import pytest

from pipelines.converse_events import (
    ItemFinished,
    ItemStarted,
    ReplyFinished,
    ReplyStarted,
    SpeechDelta,
    TextDelta,
    Traced,
    Usage,
)
from pipelines.converse_state import ConverseConfig
from pipelines.items import Message, Part
from pipelines.transcribe_events import CommitRefused, Committed, Completed, SpeechStarted, SpeechStopped
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import ServerVad
from tests.pipelines.converse import MANUAL, SEMANTIC, TEXT, Story, answers, changed, check_replies, written
from tests.pipelines.listen import said, samples
from tests.pipelines.think import Brain

TURN = [SpeechStarted, SpeechStopped, Committed, Completed]
REPLY = [ReplyStarted, ItemStarted, ItemFinished, ReplyFinished]
PATIENT = changed(listen=TranscribeConfig(ServerVad(silence_duration_ms=1_000)))
LONG = " ".join(f"Sentence number {number} is here." for number in range(20))


def asked(story: Story) -> list[str]:
    """What the user had said last, in every prompt."""
    return [prompt[-1]["content"] for prompt in story.prompts]


# --- a turn ---


def test_a_turn_is_replied_to() -> None:
    story = Story(said(1, 2, "what time is it")).hear(6)
    assert story.kinds() == TURN + REPLY
    assert story.history() == [("user", "what time is it"), ("assistant", "You said what time is it.")]
    assert story.prompts == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "what time is it"}]
    ]
    assert story.outcomes == [("completed", None)]
    assert story.told(ReplyFinished)[0].usage == Usage(20, 5, 6)
    check_replies(story)


def test_what_is_told_of_a_spoken_item_adds_up() -> None:
    story = Story(said(1, 2, "hello"), brain=answers(LONG)).hear(6)
    (started,), (finished,) = story.told(ItemStarted), story.told(ItemFinished)
    assert started.item.status == "in_progress"
    assert started.item.id == finished.item.id
    assert started.previous == "item_1"
    assert (finished.index, finished.item.status) == (0, "completed")
    assert isinstance(finished.item, Message)
    (part,) = finished.item.content
    assert part.text == story.spoken(finished.reply) == LONG
    assert 2 * part.samples == len(story.pcm(finished.reply))
    assert len(part.marks) == len(LONG.split())
    assert story.told(ReplyFinished)[0].items == [finished.item]
    assert story.pipeline.conversation.find(finished.item.id) == finished.item


def test_speech_begins_before_the_text_is_complete() -> None:
    story = Story(said(1, 2, "hello"), brain=answers(LONG)).hear_until(SpeechDelta)
    assert story.think.busy
    assert story.told(ReplyFinished) == []


def test_the_speaker_learns_how_much_the_client_has_to_play() -> None:
    story = Story(said(1, 2, "hello"), brain=answers(LONG)).hear(6)
    (stream,) = story.speakers(story.told(ReplyStarted)[0].reply)
    assert len(stream.paces) == 20
    assert stream.paces[0] == pytest.approx(5 * 0.25)
    assert stream.paces[-1] == pytest.approx(20 * 5 * 0.25, abs=3)
    assert stream.paces == sorted(stream.paces)


def test_the_speaker_has_the_voice_and_speed_that_were_asked_for() -> None:
    story = Story(said(1, 2, "hello"), config=changed(voice="echo", speed=1.5)).hear(4)
    (stream,) = story.speakers(story.told(ReplyStarted)[0].reply)
    assert stream.options == {"voice": "echo", "speed": 1.5}


def test_every_turn_is_replied_to_with_all_that_was_said() -> None:
    story = Story(said(1, 2, "one"), said(8, 9, "two"), said(15, 16, "three")).hear(22)
    assert story.outcomes == [("completed", None)] * 3
    assert [role for role, _ in story.history()] == ["user", "assistant"] * 3
    assert [(message["role"], message["content"]) for message in story.prompts[-1][1:]] == story.history()[:5]
    assert [started.previous for started in story.told(ItemStarted)] == [
        committed.item for committed in story.told(Committed)
    ]
    check_replies(story)


def test_a_reply_in_text_needs_no_speaker() -> None:
    story = Story(said(1, 2, "hello there"), config=TEXT).hear(4)
    assert story.kinds() == TURN + REPLY
    assert "".join(delta.text for delta in story.told(TextDelta)) == "You said hello there."
    assert story.history()[-1] == ("assistant", "You said hello there.")
    assert not [name for name, _ in story.opened if name.startswith("speak")]
    (item,) = story.told(ReplyFinished)[0].items
    assert isinstance(item, Message)
    assert item.content[0].type == "output_text"


@pytest.mark.parametrize("config", [TEXT, changed()])
def test_text_that_comes_at_the_very_end_is_not_lost(config: ConverseConfig) -> None:
    story = Story(said(1, 2, "hello there"), config=config, brain=Brain(held=5)).hear(5)
    assert story.history()[-1] == ("assistant", "You said hello there.")


@pytest.mark.parametrize(("text", "told"), [("  Well. ", "Well. "), ("", None), (" \n ", None)])
@pytest.mark.parametrize("config", [TEXT, changed()])
def test_a_reply_of_nothing_has_no_item(config: ConverseConfig, text: str, told: str | None) -> None:
    story = Story(said(1, 2, "hello"), config=config, brain=answers(text)).hear(4)
    assert story.outcomes == [("completed", None)]
    assert [item for role, item in story.history() if role == "assistant"] == ([told] if told else [])
    assert story.kinds() == TURN + (REPLY if told else [ReplyStarted, ReplyFinished])
    check_replies(story)


def test_text_without_speech_is_told_all_the_same() -> None:
    story = Story(said(1, 2, "hello"), brain=answers("Fine! 🎉🎉")).hear(4)
    assert story.history()[-1] == ("assistant", "Fine! 🎉🎉")
    assert story.told(SpeechDelta)[-1].text == "🎉🎉"
    assert story.told(SpeechDelta)[-1].pcm == b""


@pytest.mark.parametrize("text", ["", "  "])
def test_speech_without_words_gets_no_reply(text: str) -> None:
    story = Story(said(1, 2, "hum"), final_text=lambda _: text).hear(5)
    assert story.kinds() == TURN
    assert story.prompts == []


def test_turns_get_no_reply_unless_one_is_wanted() -> None:
    story = Story(said(1, 2, "hello"), config=changed(create_response=False)).hear(5)
    assert story.kinds() == TURN
    assert story.prompts == []
    story.reply()
    story.wait_until(ReplyFinished)
    assert asked(story) == ["hello"]


def test_a_reply_is_cut_at_the_most_tokens_it_may_have() -> None:
    story = Story(said(1, 2, "hello"), config=changed(max_tokens=3), brain=answers("One two three four five.")).hear(5)
    assert story.outcomes == [("incomplete", "max_output_tokens")]
    assert story.history()[-1] == ("assistant", "One two three")
    assert story.told(ItemFinished)[0].item.status == "incomplete"


def test_a_turn_is_traced_to_its_first_sound() -> None:
    story = Story(said(1, 2, "what time is it")).hear(6)
    (traced,) = story.told(Traced)
    trace = traced.trace
    assert trace.speech_end is not None
    assert trace.sent is not None
    assert trace.speech_end - 1_700_000_000 == pytest.approx(2, abs=0.04)
    assert trace.turn_end is not None
    assert trace.turn_end - trace.speech_end == pytest.approx(0.5, abs=0.04)
    times = [trace.speech_end, trace.transcript, trace.asked, trace.first_token, trace.first_speech, trace.sent]
    assert times == sorted(time for time in times if time is not None)
    assert story.when(Traced) == trace.sent - 1_700_000_000 == story.when(SpeechDelta)
    stages = trace.stages()
    assert list(stages) == ["listening", "thinking", "speaking", "waiting"]
    assert sum(end - start for start, end in stages.values()) == pytest.approx(trace.sent - trace.speech_end)


# --- speculation ---


def test_a_reply_begins_while_the_turn_may_still_go_on_and_is_told_at_its_end() -> None:
    story = Story(said(1, 2, "what time is it"), config=PATIENT).hear(2.9)
    assert len(story.prompts) == 1
    assert story.kinds() == [SpeechStarted]
    story.hear_until(ReplyFinished)
    assert story.kinds() == TURN + REPLY
    assert len(story.prompts) == 1
    assert story.when(SpeechDelta) == story.when(SpeechStopped) == pytest.approx(3, abs=0.04)
    assert story.spoken(story.told(ReplyStarted)[0].reply) == "You said what time is it."


def test_an_item_of_a_guess_is_told_as_it_began() -> None:
    story = Story(said(1, 2, "what time is it"), config=PATIENT).hear_until(ReplyFinished)
    item = story.told(ItemStarted)[0].item
    assert isinstance(item, Message)
    assert (item.status, item.content) == ("in_progress", [Part("output_audio", "")])


def test_a_guess_is_dropped_if_speech_goes_on() -> None:
    story = Story(said(1, 2, "what time"), said(2.6, 3.6, "is it"), config=PATIENT).hear(7)
    assert asked(story) == ["what time", "what time is it"]
    assert story.think.cancels == 1
    assert story.outcomes == [("completed", None)]
    assert story.history() == [("user", "what time is it"), ("assistant", "You said what time is it.")]
    assert len([name for name, _ in story.opened if name.startswith("speak")]) == 2
    check_replies(story)


def test_a_guess_about_another_text_is_dropped() -> None:
    """With a lag of recognition the text of an earlier pause is the guess when the turn ends by a commit."""
    story = Story(said(1, 2, "what time"), config=PATIENT).hear(2.3)
    guess = next(state for state in story.pipeline.state.replies.all)
    assert guess.guess is not None
    guess.guess = type(guess.guess)(guess.guess.item, "something else")
    story.hear_until(ReplyFinished)
    assert asked(story) == ["what time", "what time"]
    assert story.think.cancels == 1
    assert story.outcomes == [("completed", None)]
    check_replies(story)


@pytest.mark.parametrize(
    "edit",
    [
        lambda story: story.create_item(written("Call me Ada.", role="system")),
        lambda story: story.delete_item("old"),
        lambda story: story.configure(changed(PATIENT, instructions="Be rude.")),
        lambda story: story.reply(),
    ],
)
def test_a_guess_is_dropped_when_what_it_replies_to_changes(edit: Callable[[Story], object]) -> None:
    story = Story(said(1, 2, "hello"), config=PATIENT)
    story.create_item(written("Earlier.", "old"))
    story.hear(2.4)
    assert len(story.prompts) == 1
    edit(story)
    assert story.think.cancels == 1
    assert not [reply for reply in story.pipeline.state.replies.all if reply.guess]
    story.hear(8)
    assert len(story.prompts) > 1
    assert set(story.outcomes) == {("completed", None)}
    check_replies(story)


def test_a_guess_is_kept_when_only_listening_changes() -> None:
    story = Story(said(1, 2, "hello"), config=PATIENT).hear(2.4)
    story.configure(changed(PATIENT, listen=TranscribeConfig(ServerVad(silence_duration_ms=800))))
    story.hear(3)
    assert len(story.prompts) == 1
    assert story.outcomes == [("completed", None)]


def test_a_guess_is_dropped_if_replies_are_no_longer_wanted() -> None:
    story = Story(said(1, 2, "hello"), config=PATIENT).hear(2.4)
    story.configure(changed(PATIENT, create_response=False)).hear(3)
    assert story.told(ReplyStarted) == []
    assert story.think.cancels == 1
    assert list(story.streams) == ["listen", "think"]


def test_a_guess_is_dropped_with_the_audio_that_is_cleared() -> None:
    story = Story(said(1, 2, "hello"), config=PATIENT).hear(2.4).clear().hear(3)
    assert story.told(ReplyStarted) == []
    assert list(story.streams) == ["listen", "think"]


def test_a_guess_is_dropped_when_the_client_commits_the_turn_itself() -> None:
    story = Story(said(1, 2, "hello"), config=PATIENT).hear(2.4).commit().hear(0.5)
    assert story.told(ReplyStarted) == []
    assert story.pipeline.state.replies.all == []
    assert list(story.streams) == ["listen", "think"]
    story.reply()
    story.wait_until(ReplyFinished)
    assert asked(story)[-1] == "hello"


def test_no_guess_is_made_while_a_reply_is_in_progress() -> None:
    config = changed(PATIENT, interrupt_response=False)
    story = Story(said(1, 2, "one"), said(4.5, 5.5, "two"), config=config, brain=answers(LONG, token_s=0.1)).hear(6.2)
    assert len(story.prompts) == 1
    assert story.told(ReplyFinished) == []


def test_no_guess_is_made_without_words() -> None:
    story = Story(said(1, 2, "hum"), config=PATIENT, final_text=lambda _: "").hear(2.9)
    assert story.prompts == []


def test_words_of_a_guess_that_were_on_their_way_do_no_harm() -> None:
    brain = Brain(lambda messages: LONG, in_flight_s=0.5)
    story = Story(said(1, 2, "what time"), said(2.6, 3.6, "is it"), config=PATIENT, brain=brain).hear(9)
    assert story.outcomes == [("completed", None)]
    assert story.spoken(story.told(ReplyStarted)[0].reply) == LONG
    check_replies(story)


# --- several turns at once ---


def lagging(segment: int) -> int:
    return samples(0.6)


def test_a_turn_after_which_speech_without_words_begins_at_once_is_replied_to() -> None:
    story = Story(said(1, 2, "what time is it"), said(2.7, 2.9), final_lag=lagging).hear(8)
    assert story.outcomes == [("completed", None)]
    assert asked(story) == ["what time is it"]
    check_replies(story)


def test_two_turns_of_which_the_first_is_not_understood_yet_get_one_reply() -> None:
    story = Story(said(1, 2, "what time is it"), said(2.7, 3.7, "in Rome"), final_lag=lagging).hear(10)
    assert story.outcomes == [("completed", None)]
    assert [message["content"] for message in story.prompts[-1][1:]] == ["what time is it", "in Rome"]


def test_a_turn_during_a_reply_that_may_not_be_interrupted_is_replied_to_afterwards() -> None:
    config = changed(interrupt_response=False)
    story = Story(said(1, 2, "one"), said(3, 4, "two"), config=config, brain=answers(LONG, "Two.")).hear(12)
    assert story.outcomes == [("completed", None)] * 2
    assert [role for role, _ in story.history()] == ["user", "assistant", "user", "assistant"]
    assert asked(story) == ["one", "two"]
    check_replies(story)


@pytest.mark.parametrize(("words", "prompted"), [("", "two"), ("three", "three")])
def test_a_reply_that_ends_while_the_user_speaks_is_followed_by_just_one(words: str, prompted: str) -> None:
    config = changed(interrupt_response=False)
    utterances = said(1, 2, "one"), said(3, 4, "two"), said(4.6, 6.5, words)
    story = Story(*utterances, config=config, brain=answers(LONG, "Once.", token_s=0.03)).hear_until(ReplyFinished)
    assert 4.6 < story.when(ReplyFinished) < 6.5
    story.hear(10)
    assert len(story.told(ReplyStarted)) == 2
    assert asked(story)[-1] == prompted
    check_replies(story)


def test_a_turn_that_is_deleted_before_its_text_is_known_gets_no_reply() -> None:
    story = Story(said(1, 2, "hello"), final_lag=lambda segment: samples(2)).hear_until(Committed)
    story.delete_item("item_1").hear(5)
    assert len(story.told(Completed)) == 1
    assert story.prompts == []
    assert story.history() == []


# --- turns that the client makes ---


def test_a_reply_waits_for_the_transcript_of_what_was_just_committed() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, final_lag=lambda segment: samples(1)).hear(1.5)
    story.commit()
    name = story.reply()
    assert [event.reply for event in story.told(ReplyStarted)] == [name]
    assert story.prompts == []
    story.hear_until(ReplyFinished)
    assert asked(story) == ["by hand"]
    assert story.outcomes == [("completed", None)]
    check_replies(story)


def test_a_reply_waits_for_a_commit_that_analysis_has_not_reached() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, vad_lag=samples(0.5)).hear(1.5)
    story.commit().reply()
    assert story.told(Committed) == []
    assert story.prompts == []
    story.hear_until(ReplyFinished)
    assert asked(story) == ["by hand"]


def test_a_reply_does_not_wait_for_commits_after_it() -> None:
    story = Story(said(0.2, 1, "one"), said(2, 3, "two"), config=MANUAL, vad_lag=samples(0.3)).hear(1.5)
    story.commit().reply()
    story.hear(0.1).commit()
    story.hear_until(ReplyFinished)
    assert asked(story) == ["one"]


def test_a_reply_does_not_wait_for_a_commit_of_nothing() -> None:
    story = Story(config=MANUAL, vad_lag=samples(0.3)).hear(0.05)
    story.create_item(written("Hello?"))
    story.commit().reply()
    story.hear_until(ReplyFinished)
    assert len(story.told(CommitRefused)) == 1
    assert asked(story) == ["Hello?"]


def test_a_reply_waits_for_every_transcript() -> None:
    lags = {1: samples(2), 2: samples(0.5)}
    story = Story(said(0.2, 1, "one"), said(1.2, 2, "two"), config=MANUAL, final_lag=lambda segment: lags[segment])
    story.hear(1.1).commit().hear(1).commit().reply()
    story.hear_until(ReplyFinished)
    assert [message["content"] for message in story.prompts[0][1:]] == ["one", "two"]
    assert len(story.prompts) == 1


def test_a_commit_gets_no_reply_of_its_own() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL).hear(1.5).commit().hear(2)
    assert story.kinds() == [Committed, Completed]
    assert story.prompts == []


def test_a_reply_may_be_cancelled_while_it_waits() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, final_lag=lambda segment: samples(1)).hear(1.5)
    story.commit().reply()
    story.cancel().hear(3)
    assert story.outcomes == [("cancelled", "client_cancelled")]
    assert story.prompts == []
    check_replies(story)


def test_a_deleted_item_is_not_waited_for() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, final_lag=lambda segment: samples(9)).hear(1.5)
    story.create_item(written("Hello?"))
    story.commit().reply()
    story.delete_item("item_1").wait_until(ReplyFinished)
    assert asked(story) == ["Hello?"]


def test_semantic_turns_are_replied_to_too() -> None:
    story = Story(said(1, 2, "what time is it"), config=SEMANTIC).hear(6)
    assert story.kinds() == TURN + REPLY
    assert story.when(SpeechStopped) == pytest.approx(2.2, abs=0.06)
