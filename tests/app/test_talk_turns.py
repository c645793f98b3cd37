"""Who waits for whom in a conversation."""

import pytest

from app.talk_turns import Turns


@pytest.fixture
def turns() -> Turns:
    begun = Turns(silence_s=0.5)
    begun.begin(now=100.0)
    return begun


def test_latency_counts_from_the_end_of_speech(turns: Turns) -> None:
    turns.speech_started()
    turns.speech_stopped(at=3.5)
    assert turns.reply_heard(now=104.25) == pytest.approx(1.25)
    assert turns.reply_heard(now=105.0) is None


def test_latency_of_a_turn_ended_by_hand(turns: Turns) -> None:
    turns.committed(now=110.0)
    assert turns.awaiting_reply
    assert turns.reply_heard(now=111.0) == pytest.approx(1.0)


def test_a_reply_answers_its_turn(turns: Turns) -> None:
    assert not turns.heard_speech
    turns.speech_started()
    turns.speech_stopped(at=3.0)
    assert turns.heard_speech
    assert turns.awaiting_reply
    turns.reply_done("completed")
    assert not turns.awaiting_reply


def test_the_interrupting_turn_is_still_to_be_answered(turns: Turns) -> None:
    turns.speech_started()
    turns.speech_stopped(at=3.0)
    turns.speech_started()
    turns.reply_done("cancelled")
    assert turns.awaiting_reply
    assert turns.reply_heard(now=104.0) is None
    turns.speech_stopped(at=6.0)
    assert turns.reply_heard(now=107.0) == pytest.approx(1.5)
    turns.reply_done("failed")
    assert not turns.awaiting_reply


def test_speech_without_words_is_not_answered(turns: Turns) -> None:
    turns.speech_started()
    turns.speech_stopped(at=1.0)
    turns.transcribed("")
    assert turns.heard_speech
    assert not turns.heard_words
    assert not turns.awaiting_reply
    turns.speech_started()
    turns.transcribed("Hello.")
    assert turns.heard_words
    assert turns.awaiting_reply
