"""Items of a conversation: created, retrieved, deleted, cut; responses that are cancelled."""

import pytest

from tests.app.realtime.talker import Talker
from tests.pipelines.converse import answers
from tests.pipelines.listen import said

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))


def test_items_are_created_retrieved_and_deleted() -> None:
    talker = Talker().manual()
    added, done = talker.say("First.", id="one")
    assert added["item"] == done["item"]
    assert added["item"] == {
        "id": "one",
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "First."}],
    }
    (added, _) = talker.say("Second.", role="assistant")
    assert added["previous_item_id"] == "one"
    (retrieved,) = talker.send("conversation.item.retrieve", item_id="one")
    assert (retrieved["type"], retrieved["item"]) == ("conversation.item.retrieved", done["item"])
    (deleted,) = talker.send("conversation.item.delete", item_id="one")
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "one")
    assert "error" in talker.send("conversation.item.retrieve", item_id="one")[0]


def test_what_was_said_can_be_retrieved_with_its_text() -> None:
    talker = Talker(said(1, 2, "hello there"))
    talker.speak(4)
    item = talker.told("input_audio_buffer.committed")[0]["item_id"]
    (retrieved,) = talker.send("conversation.item.retrieve", item_id=item)
    assert retrieved["item"]["content"] == [{"type": "input_audio", "transcript": "hello there"}]


@pytest.mark.parametrize("place", ["root", None])
def test_an_item_is_put_where_it_belongs(place: str | None) -> None:
    talker = Talker().manual()
    talker.say("Later.", id="later")
    item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "First."}]}
    (added, _) = talker.send("conversation.item.create", item=item, previous_item_id=place)
    assert added["previous_item_id"] == (None if place == "root" else "later")


def test_audio_of_the_past_is_told_by_its_transcript() -> None:
    talker = Talker().manual()
    user = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Said before."}]}
    talker.send("conversation.item.create", item=user)
    assistant = {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Heard."}]}
    talker.send("conversation.item.create", item=assistant)
    talker.respond()
    assert [message["content"] for message in talker.prompts()[0][1:]] == ["Said before.", "Heard."]


def test_a_truncated_item_says_what_was_heard() -> None:
    talker = Talker(brain=answers("One two three four.", "Next.")).manual()
    talker.say()
    talker.respond()
    talker.wait(3)
    item = talker.done()["output"][0]["id"]
    (truncated,) = talker.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=550)
    assert (truncated["type"], truncated["item_id"], truncated["audio_end_ms"]) == (
        "conversation.item.truncated",
        item,
        550,
    )
    (retrieved,) = talker.send("conversation.item.retrieve", item_id=item)
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": "One two"}]
    talker.respond()
    assert talker.prompts()[-1][-1] == {"role": "assistant", "content": "One two"}


def test_a_response_in_progress_ends_when_its_item_is_truncated() -> None:
    talker = Talker(brain=answers(LONG, token_s=0.1)).manual()
    talker.say()
    talker.respond()
    talker.wait(3)
    item = talker.told("response.output_item.added")[0]["item"]["id"]
    told = talker.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=800)
    assert [event["type"] for event in told][-2:] == ["response.done", "conversation.item.truncated"]
    assert talker.done()["status"] == "cancelled"


def test_a_response_is_cancelled() -> None:
    talker = Talker(brain=answers(LONG, token_s=0.1)).manual()
    talker.say()
    (created, _) = talker.respond()
    talker.wait(1)
    talker.send("response.cancel", response_id=created["response"]["id"])
    assert talker.done()["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert talker.wait(5) == []
    assert talker.state.responses == {}
