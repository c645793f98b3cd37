"""The history of a conversation and the prompt that it makes."""

import pytest

from pipelines.conversation import MAX_ITEMS, Conversation, ItemError, prompt
from pipelines.items import FunctionCall, FunctionCallOutput, Item, Mark, Message, Part, Status
from tests.pipelines.converse import written


def call(name: str, call_id: str) -> FunctionCall:
    return FunctionCall(name, call_id, "look", "{}")


def result(name: str, call_id: str) -> FunctionCallOutput:
    return FunctionCallOutput(name, call_id, f"result of {call_id}")


def shape(items: list[Item]) -> list[str]:
    """Roles of a prompt's messages; calls and results with their ids."""
    shown = []
    for message in prompt("", items):
        ids = [asked["id"] for asked in message.get("tool_calls", [])] or [message.get("tool_call_id", "")]
        shown.append(" ".join([message["role"], *filter(None, ids)]))
    return shown


def spoken(*words: str, status: Status = "completed") -> Message:
    """A message of the assistant whose words take 100 ms each."""
    marks: list[Mark] = []
    for number, word in enumerate(words):
        end = (marks[-1].text + 1 if marks else 0) + len(word)
        marks.append(Mark(end, 2_400 * (number + 1)))
    return Message("said", "assistant", [Part("output_audio", " ".join(words), 2_400 * len(words), marks)], status)


def test_a_prompt_is_the_instructions_and_what_was_said() -> None:
    items = [written("Hi", "a"), written("Hello!", "b", "assistant"), written("Be kind.", "c", "system")]
    assert prompt("Be brief.", items) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "system", "content": "Be kind."},
    ]


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_what_has_no_text_is_left_out(text: str | None) -> None:
    for message in (Message("a", "user", [Part("input_audio", text)]), Message("a", "user", [])):
        assert prompt("Be brief.", [message]) == [{"role": "system", "content": "Be brief."}]


def test_a_prompt_of_nothing_is_not_empty() -> None:
    assert prompt("", []) == [{"role": "system", "content": ""}]


def test_parts_of_a_message_are_lines() -> None:
    message = Message("a", "user", [Part("input_text", "one"), Part("input_audio"), Part("input_audio", "two")])
    assert prompt("", [message]) == [{"role": "user", "content": "one\ntwo"}]


def test_a_call_and_its_result_are_told_as_chat_completions_have_them() -> None:
    items: list[Item] = [FunctionCall("a", "call_1", "look", '{"at":1}'), FunctionCallOutput("b", "call_1", "nothing")]
    function = {"name": "look", "arguments": '{"at":1}'}
    assert prompt("", items) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "nothing"},
    ]


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([call("a", "1"), call("b", "2"), result("c", "2"), result("d", "1")], ["assistant 1 2", "tool 1", "tool 2"]),
        (
            [call("a", "1"), result("b", "1"), call("c", "2"), result("d", "2")],
            ["assistant 1", "tool 1", "assistant 2", "tool 2"],
        ),
        ([call("a", "1"), written("wait", "b"), result("c", "1")], ["assistant 1", "tool 1", "user"]),
        ([call("a", "1"), call("b", "2"), result("c", "2")], ["assistant 2", "tool 2"]),
        ([call("a", "1"), written("well", "b")], ["user"]),
        ([written("hm", "a"), result("b", "1")], ["user"]),
    ],
)
def test_results_follow_their_calls_and_neither_goes_without_the_other(items: list[Item], messages: list[str]) -> None:
    assert shape(items) == messages


def test_items_are_added_where_they_are_wanted() -> None:
    conversation = Conversation()
    assert conversation.add(written("1", "one")) is None
    assert conversation.add(written("3", "three")) == "one"
    assert conversation.add(written("2", "two"), "one") == "one"
    assert conversation.add(written("0", "zero"), "root") is None
    assert [item.id for item in conversation.items] == ["zero", "one", "two", "three"]
    assert conversation.before("two") == "one"
    assert conversation.before("zero") is None


@pytest.mark.parametrize(
    ("item", "after", "code", "param"),
    [
        (written("again", "one"), None, "item_exists", "item.id"),
        (written("lost", "two"), "nowhere", "item_not_found", "previous_item_id"),
        (result("two", "call_9"), None, "invalid_value", "item.call_id"),
    ],
)
def test_what_cannot_be_added_is_refused(item: Item, after: str | None, code: str, param: str) -> None:
    conversation = Conversation([written("1", "one")])
    with pytest.raises(ItemError) as refused:
        conversation.add(item, after)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert [item.id for item in conversation.items] == ["one"]


@pytest.mark.parametrize(
    ("end_ms", "text"), [(0, ""), (99, ""), (100, "one"), (199, "one"), (200, "one two"), (300, "one two three")]
)
def test_speech_is_cut_behind_the_last_word_that_was_heard(end_ms: int, text: str) -> None:
    conversation = Conversation([spoken("one", "two", "three")])
    conversation.truncate("said", 0, end_ms)
    item = conversation.find("said")
    assert isinstance(item, Message)
    assert (item.content[0].text, item.content[0].samples, item.status) == (text, end_ms * 24, "incomplete")


def test_speech_can_be_cut_again_but_grows_no_more() -> None:
    conversation = Conversation([spoken("one", "two", "three")])
    conversation.truncate("said", 0, 200)
    with pytest.raises(ItemError, match="200 ms"):
        conversation.truncate("said", 0, 300)
    conversation.truncate("said", 0, 100)
    assert prompt("", conversation.items) == [{"role": "assistant", "content": "one"}]


@pytest.mark.parametrize(
    ("item", "index", "end_ms", "code", "param"),
    [
        ("nothing", 0, 0, "item_not_found", "item_id"),
        ("asked", 0, 0, "invalid_value", "item_id"),
        ("call", 0, 0, "invalid_value", "item_id"),
        ("typed", 0, 0, "invalid_value", "content_index"),
        ("said", 1, 0, "invalid_value", "content_index"),
        ("said", 0, 201, "invalid_value", "audio_end_ms"),
    ],
)
def test_what_cannot_be_cut_is_refused(item: str, index: int, end_ms: int, code: str, param: str) -> None:
    items: list[Item] = [
        spoken("one", "two"),
        written("Hi", "asked"),
        written("Ho", "typed", "assistant"),
        call("call", "1"),
    ]
    conversation = Conversation(items)
    with pytest.raises(ItemError) as refused:
        conversation.truncate(item, index, end_ms)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_the_oldest_items_are_forgotten_but_not_those_in_use() -> None:
    conversation = Conversation([written("x", f"item {number}") for number in range(MAX_ITEMS + 2)])
    assert conversation.trim({"item 1"}) == ["item 0", "item 2"]
    assert len(conversation.items) == MAX_ITEMS
    assert conversation.trim(set()) == []
