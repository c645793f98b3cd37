"""Replies that the client asks for, ends, or has made apart from the conversation; functions."""

import pytest

from pipelines.converse import MAX_OUT_OF_BAND, ReplyError
from pipelines.converse_events import (
    CallDelta,
    ItemFinished,
    ItemStarted,
    ReplyFinished,
    ReplyStarted,
    SpeechDelta,
    TextDelta,
)
from pipelines.items import FunctionCall, FunctionCallOutput, Message
from tests.pipelines.converse import MANUAL, Story, answers, changed, check_replies, written
from tests.pipelines.listen import said, samples
from tests.pipelines.think import Call, Think

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
WITH_TOOLS = changed(MANUAL, tools=[WEATHER])


def typed(*texts: str, audio: bool = True, **brain: float) -> Story:
    """A conversation in which a question was typed."""
    story = Story(config=changed(MANUAL, audio=audio), brain=answers(*texts, **brain))
    story.create_item(written("Hello?"))
    return story


# --- one at a time ---


def test_a_second_reply_is_refused_while_one_is_active() -> None:
    story = typed(LONG)
    story.reply()
    before = len(story.effects)
    with pytest.raises(ReplyError, match="in progress") as refused:
        story.reply()
    assert refused.value.code == "conversation_already_has_active_response"
    assert len(story.effects) == before
    story.wait_until(ReplyFinished)
    story.reply()
    check_replies(story)


def test_a_reply_that_waits_for_a_transcript_is_active_too() -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, final_lag=lambda segment: samples(1)).hear(1.5)
    story.commit().reply()
    with pytest.raises(ReplyError):
        story.reply()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("audio", [True, False])
def test_a_cancelled_reply_ends_as_it_is(named: bool, audio: bool) -> None:
    story = typed(LONG, "Next.", audio=audio, token_s=0.1)
    name = story.reply()
    story.wait(3).cancel(name if named else None)
    assert story.outcomes == [("cancelled", "client_cancelled")]
    (item,) = story.told(ReplyFinished)[0].items
    assert isinstance(item, Message)
    text = item.content[0].text or ""
    assert item.status == "incomplete"
    assert LONG.startswith(text)
    assert 20 < len(text) < len(LONG)
    assert story.think.cancels == 1
    assert list(story.streams) == ["listen", "think"]
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.prompts[-1][-1] == {"role": "assistant", "content": text}
    assert story.history()[-1] == ("assistant", "Next.")
    check_replies(story)


@pytest.mark.parametrize(("name", "param"), [(None, None), ("resp_7", "response_id")])
def test_there_may_be_nothing_to_cancel(name: str | None, param: str | None) -> None:
    story = typed(LONG)
    with pytest.raises(ReplyError) as refused:
        story.cancel(name)
    assert (refused.value.code, refused.value.param) == ("response_cancel_not_active", param)


def test_a_guess_cannot_be_cancelled_for_nobody_knows_it() -> None:
    story = Story(said(1, 2, "hello")).hear(2.4)
    (guess,) = story.pipeline.state.replies.all
    for name in (None, guess.id):
        with pytest.raises(ReplyError):
            story.cancel(name)


# --- apart from the conversation ---


def test_a_reply_apart_goes_on_beside_that_of_the_conversation_and_leaves_no_trace() -> None:
    story = typed(LONG)
    first = story.reply()
    second = story.reply(in_conversation=False, audio=False, instructions="Summarise.")
    story.wait_until(ReplyFinished)
    story.wait_until(ReplyFinished)
    assert story.outcomes == [("completed", None)] * 2
    assert {finished.reply for finished in story.told(ReplyFinished)} == {first, second}
    assert story.history() == [("user", "Hello?"), ("assistant", LONG)]
    started = {event.reply: event for event in story.told(ItemStarted)}
    assert started[second].previous is None
    assert story.spoken(second) == ""
    apart = dict(story.opened)[f"think:{second}"]
    assert isinstance(apart, Think)
    assert apart.requests[0]["messages"] == [
        {"role": "system", "content": "Summarise."},
        {"role": "user", "content": "Hello?"},
    ]
    assert list(story.streams) == ["listen", "think"]
    check_replies(story)


def test_a_reply_apart_may_be_spoken() -> None:
    story = typed("Fine, thanks.")
    name = story.reply(in_conversation=False)
    story.wait_until(ReplyFinished)
    assert story.spoken(name) == "Fine, thanks."
    assert story.history() == [("user", "Hello?")]
    assert list(story.streams) == ["listen", "think"]


def test_a_reply_may_have_its_own_context() -> None:
    story = typed("Fine.")
    name = story.reply([written("Classify: spam", "own")], in_conversation=False)
    story.wait_until(ReplyFinished)
    apart = dict(story.opened)[f"think:{name}"]
    assert isinstance(apart, Think)
    assert [message["content"] for message in apart.requests[0]["messages"]] == ["Be brief.", "Classify: spam"]


def test_a_reply_to_its_own_context_may_join_the_conversation() -> None:
    story = typed("Fine.")
    story.reply([written("Other.", "own")])
    story.wait_until(ReplyFinished)
    assert [message["content"] for message in story.prompts[0]] == ["Be brief.", "Other."]
    assert story.history() == [("user", "Hello?"), ("assistant", "Fine.")]


@pytest.mark.parametrize("moving", [False, True])
def test_a_reply_waits_for_the_text_of_what_its_context_refers_to(moving: bool) -> None:
    story = Story(said(0.2, 1, "by hand"), config=MANUAL, final_lag=lambda segment: samples(1), moving=moving).hear(1.5)
    story.create_item(written("Hello?"))
    story.commit()
    name = story.reply([story.pipeline.conversation.find("item_1")], in_conversation=False)
    story.hear_until(ReplyFinished)
    apart = dict(story.opened)[f"think:{name}"]
    assert isinstance(apart, Think)
    assert [message["content"] for message in apart.requests[0]["messages"]] == ["Be brief.", "by hand"]


def test_replies_apart_are_bounded() -> None:
    story = typed(LONG)
    names = [story.reply(in_conversation=False) for _ in range(MAX_OUT_OF_BAND)]
    with pytest.raises(ReplyError) as refused:
        story.reply(in_conversation=False)
    assert refused.value.code == "too_many_responses"
    story.reply()
    story.cancel(names[1])
    assert story.told(ReplyFinished)[0].reply == names[1]
    story.reply(in_conversation=False)
    story.wait(10)
    assert story.outcomes.count(("completed", None)) == MAX_OUT_OF_BAND + 1
    assert list(story.streams) == ["listen", "think"]
    check_replies(story)


@pytest.mark.parametrize("kind", ["lost", "error", "refused"])
def test_a_reply_apart_fails_alone(kind: str) -> None:
    story = typed(LONG)
    story.reply()
    name = story.reply(in_conversation=False)
    story.wait(0.3).lose(f"think:{name}", kind)
    assert [(event.reply, event.outcome.status) for event in story.told(ReplyFinished)] == [(name, "failed")]
    story.wait_until(ReplyFinished)
    assert story.outcomes[-1] == ("completed", None)
    assert list(story.streams) == ["listen", "think"]


def test_interrupting_and_cancelling_concern_the_conversation_only() -> None:
    story = Story(said(1, 2, "hello"), said(4, 5, "stop"), brain=answers(LONG, token_s=0.1)).hear(3)
    apart = story.reply(in_conversation=False)
    story.hear(1.2)
    assert story.outcomes == [("cancelled", "turn_detected")]
    with pytest.raises(ReplyError):
        story.cancel()
    story.hear(1.5).cancel()
    assert story.outcomes[1:] == [("cancelled", "client_cancelled")]
    story.wait(10)
    assert {event.reply: event.outcome.status for event in story.told(ReplyFinished)}[apart] == "completed"


def test_cancelling_a_reply_apart_does_not_cost_a_turn_its_reply() -> None:
    config = changed(interrupt_response=False)
    utterances = said(1, 2, "one"), said(3, 4, "two")
    story = Story(*utterances, config=config, brain=answers(LONG, "Two.", token_s=0.05)).hear(4.8)
    apart = story.reply(in_conversation=False)
    story.cancel(apart).hear(10)
    assert [message["content"] for message in story.prompts[-1]][-1] == "two"
    assert story.outcomes == [("cancelled", "client_cancelled"), ("completed", None), ("completed", None)]


def test_a_guess_is_not_dropped_for_a_reply_apart() -> None:
    story = Story(said(1, 2, "hello")).hear(2.3)
    story.reply(in_conversation=False)
    story.hear(5)
    assert len(story.prompts) == 1
    assert story.outcomes == [("completed", None)] * 2


# --- functions ---


@pytest.mark.parametrize("audio", [True, False])
def test_a_function_is_called_and_its_result_answered(audio: bool) -> None:
    story = Story(config=changed(WITH_TOOLS, audio=audio), brain=answers(Call("weather", '{"in":"Rome"}'), "Sunny."))
    story.create_item(written("How is the weather in Rome?"))
    story.reply()
    story.wait_until(ReplyFinished)
    assert story.kinds() == [ReplyStarted, ItemStarted, ItemFinished, ReplyFinished]
    (call,) = story.told(ReplyFinished)[0].items
    assert isinstance(call, FunctionCall)
    assert (call.name, call.arguments, call.status) == ("weather", '{"in":"Rome"}', "completed")
    assert "".join(delta.arguments for delta in story.told(CallDelta)) == call.arguments
    assert {delta.call_id for delta in story.told(CallDelta)} == {call.call_id}
    assert not [name for name in story.streams if name.startswith("speak")]
    story.create_item(FunctionCallOutput("result", call.call_id, '{"sun":true}'))
    story.reply()
    story.wait_until(ReplyFinished)
    assert [message["role"] for message in story.prompts[1]] == ["system", "user", "assistant", "tool"]
    assert story.prompts[1][-1] == {"role": "tool", "tool_call_id": call.call_id, "content": '{"sun":true}'}
    assert story.history()[-1] == ("assistant", "Sunny.")
    check_replies(story)


def test_tools_and_their_choice_reach_the_language_model() -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    story = Story(config=changed(WITH_TOOLS, tool_choice=choice), brain=answers(Call("weather")))
    story.create_item(written("Hello?"))
    story.reply()
    request = story.think.requests[0]
    assert (request["tools"], request["tool_choice"]) == ([WEATHER], choice)
    story.wait_until(ReplyFinished)
    story.reply(tools=[], tool_choice="auto")
    assert "tools" not in story.think.requests[1]


def test_several_calls_are_several_items_in_order() -> None:
    calls = [Call("weather", '{"in":"Rome"}'), Call("weather", '{"in":"Oslo"}'), Call("weather", "{}")]
    story = Story(config=WITH_TOOLS, brain=answers(calls))
    story.create_item(written("Hello?"))
    story.reply()
    story.wait_until(ReplyFinished)
    items = story.told(ReplyFinished)[0].items
    assert [item.arguments for item in items if isinstance(item, FunctionCall)] == [call.arguments for call in calls]
    assert len({item.call_id for item in items if isinstance(item, FunctionCall)}) == 3
    assert [event.index for event in story.told(ItemStarted)] == [event.index for event in story.told(ItemFinished)]
    assert [event.previous for event in story.told(ItemStarted)] == ["note", *[item.id for item in items][:2]]
    check_replies(story)


@pytest.mark.parametrize("audio", [True, False])
def test_a_reply_may_say_something_and_call_a_function(audio: bool) -> None:
    answer = answers(["Let me look, one moment.", Call("weather", "{}")])
    story = Story(config=changed(WITH_TOOLS, audio=audio), brain=answer)
    story.create_item(written("Hello?"))
    story.reply()
    story.wait_until(ReplyFinished)
    message, call = story.told(ReplyFinished)[0].items
    assert isinstance(message, Message)
    assert isinstance(call, FunctionCall)
    assert message.content[0].text == "Let me look, one moment."
    assert {event.item.id: event.index for event in story.told(ItemFinished)} == {message.id: 0, call.id: 1}
    assert bool(story.told(SpeechDelta)) is audio
    assert bool(story.told(TextDelta)) is not audio
    check_replies(story)


def test_a_call_that_is_cut_short_is_incomplete() -> None:
    story = Story(config=WITH_TOOLS, brain=answers(Call("weather", '{"in":"Rome"}'), token_s=0.2))
    story.create_item(written("Hello?"))
    story.reply()
    story.wait_until(CallDelta).cancel()
    (call,) = story.told(ReplyFinished)[0].items
    assert isinstance(call, FunctionCall)
    assert (call.arguments, call.status) == ('{"in":', "incomplete")
    story.reply()
    assert [message["role"] for message in story.prompts[1]] == ["system", "user"]


def test_calls_may_be_guessed() -> None:
    story = Story(said(1, 2, "weather please"), config=changed(tools=[WEATHER]), brain=answers(Call("weather")))
    story.hear_until(ReplyFinished)
    assert len(story.prompts) == 1
    (call,) = story.told(ReplyFinished)[0].items
    assert story.pipeline.conversation.find(call.id) == call
    assert story.told(ItemStarted)[0].previous == "item_1"
