"""Items that are cut, added and taken out while replies are made."""

import pytest

from pipelines.conversation import MAX_ITEMS, ItemError
from pipelines.converse_events import (
    ItemsForgotten,
    ItemStarted,
    ReplyFinished,
    SpeechDelta,
)
from pipelines.items import Message
from pipelines.transcribe_events import Committed, Completed
from tests.pipelines.converse import MANUAL, Story, answers, changed, check_replies, written
from tests.pipelines.listen import said
from tests.pipelines.think import Brain

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))


def typed(*texts: str, audio: bool = True, **brain: float) -> Story:
    """A conversation in which a question was typed."""
    story = Story(config=changed(MANUAL, audio=audio), brain=answers(*texts, **brain))
    story.create_item(written("Hello?"))
    return story


# --- truncation ---


def test_an_item_in_progress_is_cut_and_its_reply_ends() -> None:
    story = typed(LONG, "Next.", token_s=0.1)
    story.reply()
    story.wait_until(SpeechDelta).wait_until(SpeechDelta)
    (started,) = story.told(ItemStarted)
    story.truncate_item(started.item.id, 800)
    assert story.outcomes == [("cancelled", "client_cancelled")]
    (item,) = story.told(ReplyFinished)[0].items
    assert isinstance(item, Message)
    assert (item.status, item.content[0].text, item.content[0].samples) == ("incomplete", "Sentence number 0", 19_200)
    assert story.think.cancels == 1
    story.reply()
    assert story.prompts[-1][-1] == {"role": "assistant", "content": "Sentence number 0"}


def test_an_item_is_not_cut_beyond_what_was_sent_of_it() -> None:
    story = typed(LONG, token_s=0.1)
    story.reply()
    story.wait_until(SpeechDelta)
    (started,) = story.told(ItemStarted)
    with pytest.raises(ItemError) as refused:
        story.truncate_item(started.item.id, 1_251)
    assert refused.value.param == "audio_end_ms"
    assert story.outcomes == []
    story.truncate_item(started.item.id, 1_250)
    assert story.history()[-1] == ("assistant", "Sentence number 0 is here.")


def test_a_cut_item_does_not_end_another_reply() -> None:
    story = typed("One two three.", LONG)
    story.reply()
    story.wait_until(ReplyFinished)
    (item,) = story.told(ReplyFinished)[0].items
    story.reply()
    story.wait_until(SpeechDelta).truncate_item(item.id, 250)
    story.wait_until(ReplyFinished)
    assert story.outcomes == [("completed", None)] * 2
    assert story.history()[1:] == [("assistant", "One"), ("assistant", LONG)]


# --- items ---


def test_prompts_say_what_the_conversation_says_at_that_time() -> None:
    story = typed("One.", "Two.", "Three.")
    story.reply()
    story.wait_until(ReplyFinished)
    (item,) = story.told(ReplyFinished)[0].items
    assert story.create_item(written("First of all.", "first", "system"), "root") is None
    assert story.create_item(written("And then?", "then"), "note") == "note"
    story.delete_item(item.id).reply()
    assert [message["content"] for message in story.prompts[1]] == [
        "Be brief.",
        "First of all.",
        "Hello?",
        "And then?",
    ]


def test_an_item_in_progress_cannot_be_deleted() -> None:
    story = typed(LONG)
    story.reply()
    story.wait_until(SpeechDelta)
    (started,) = story.told(ItemStarted)
    with pytest.raises(ItemError) as refused:
        story.delete_item(started.item.id)
    assert (refused.value.code, refused.value.param) == ("item_in_progress", "item_id")
    story.wait_until(ReplyFinished).delete_item(started.item.id)
    assert story.history() == [("user", "Hello?")]


def test_items_may_have_no_name_that_speech_has_or_will_have() -> None:
    story = Story(said(1, 2, "hello there"), brain=answers("Hi."))
    story.create_item(written("Mine.", "item_1"))
    story.create_item(written("Mine too.", "item_4"))
    story.hear(1.5)
    (spoken,) = story.pipeline.state.listen.items
    assert spoken.id == "item_2"
    with pytest.raises(ItemError) as refused:
        story.create_item(written("Not mine.", "item_2"))
    assert (refused.value.code, refused.value.param) == ("item_exists", "item.id")
    story.hear(4)
    assert story.history()[2:] == [("user", "hello there"), ("assistant", "Hi.")]
    assert len({item.id for item in story.pipeline.conversation.items}) == 4


def test_the_oldest_items_are_forgotten_when_there_are_too_many() -> None:
    story = Story(config=MANUAL, brain=Brain(lambda messages: str(len(messages))))
    for number in range(MAX_ITEMS):
        story.create_item(written("x", f"note {number}"))
    assert story.told(ItemsForgotten) == []
    story.create_item(written("x", "one more"))
    assert story.told(ItemsForgotten) == [ItemsForgotten(["note 0"])]
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.told(ItemsForgotten)[1:] == [ItemsForgotten(["note 1"])]
    assert len(story.pipeline.conversation.items) == MAX_ITEMS


def test_an_item_that_a_reply_is_making_is_not_forgotten() -> None:
    story = Story(config=MANUAL, brain=answers(LONG))
    story.create_item(written("x", "old"))
    story.reply()
    story.wait_until(SpeechDelta)
    for number in range(MAX_ITEMS):
        story.create_item(written("x", f"note {number}"))
    (started,) = story.told(ItemStarted)
    assert story.pipeline.conversation.find(started.item.id)
    story.wait_until(ReplyFinished)
    assert story.outcomes == [("completed", None)]
    assert len(story.pipeline.conversation.items) == MAX_ITEMS
    check_replies(story)


def test_speech_and_typed_items_have_their_place() -> None:
    story = Story(said(1, 2, "spoken"), config=changed(create_response=False)).hear(1.5)
    story.create_item(written("typed"))
    story.hear_until(Completed)
    assert story.told(Committed)[0].item == "item_1"
    assert story.history() == [("user", "typed"), ("user", "spoken")]
