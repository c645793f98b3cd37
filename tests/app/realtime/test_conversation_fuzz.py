"""Whatever a client sends, and whatever streams answer: no conversation breaks, and bad input is always answered."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.app.realtime.talker import Talker
from tests.pipelines.listen import Utterance
from tests.pipelines.test_converse_fuzz import brains, voices
from tests.pipelines.test_transcribe_fuzz import scripts, speech

FIELDS = {
    "session.update": ["session"],
    "input_audio_buffer.append": ["audio"],
    "input_audio_buffer.commit": [],
    "input_audio_buffer.clear": [],
    "output_audio_buffer.clear": [],
    "conversation.item.create": ["item", "previous_item_id"],
    "conversation.item.delete": ["item_id"],
    "conversation.item.retrieve": ["item_id"],
    "conversation.item.truncate": ["item_id", "content_index", "audio_end_ms"],
    "response.create": ["response"],
    "response.cancel": ["response_id"],
}
WORDS = ["type", "realtime", "message", "function_call", "audio", "output", "input", "voice", "tools", "content", "id"]

Action = Callable[[Talker], object]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5_000)
    | st.text(max_size=8)
    | st.sampled_from([*WORDS, "item_story_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
nearly_events = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"type": st.just(kind)}, optional=dict.fromkeys([*FIELDS[kind], "event_id", "x"], values)
    )
)
texts = st.sampled_from(["Hi.", "", "🎉", "What is that?"])
items = st.one_of(
    st.builds(
        lambda role, text: {
            "type": "message",
            "role": role,
            "content": [{"type": "output_text" if role == "assistant" else "input_text", "text": text}],
        },
        st.sampled_from(["user", "assistant", "system"]),
        texts,
    ),
    st.just({"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_a"}),
    st.just({"type": "function_call_output", "call_id": "call_a", "output": "it"}),
)
responses = st.fixed_dictionaries(
    {},
    optional={
        "conversation": st.sampled_from(["auto", "none"]),
        "output_modalities": st.sampled_from([["text"], ["audio"]]),
        "input": st.lists(items, max_size=2),
        "max_output_tokens": st.integers(1, 20),
        "audio": st.just({"output": {"format": {"type": "audio/pcmu"}}}),
    },
)
sessions = st.fixed_dictionaries(
    {},
    optional={
        "instructions": texts,
        "output_modalities": st.sampled_from([["text"], ["audio"]]),
        "tools": st.just([{"type": "function", "name": "look"}]),
        "truncation": st.sampled_from(["auto", "disabled"]),
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {},
                    optional={
                        "turn_detection": st.sampled_from([None, {"type": "semantic_vad"}, {"type": "server_vad"}]),
                        "transcription": st.sampled_from([None, {"model": "whisper-1"}]),
                        "format": st.sampled_from([{"type": "audio/pcma"}, {"type": "audio/pcm"}]),
                    },
                ),
                "output": st.just({"format": {"type": "audio/pcma"}}),
            },
        ),
    },
)


def creates(item: dict[str, Any]) -> Action:
    return lambda talker: talker.send("conversation.item.create", item=item)


def edits(kind: str, number: int, fields: dict[str, Any]) -> Action:
    """Something is done to an item of the conversation, if it has any."""

    def edit(talker: Talker) -> None:
        ids = [item.id for item in talker.state.pipeline.conversation.items] or ["nothing"]
        talker.send(f"conversation.item.{kind}", item_id=ids[number % len(ids)], **fields)

    return edit


numbers = st.integers(0, 9)
sensible: st.SearchStrategy[Action] = st.one_of(
    items.map(creates),
    responses.map(lambda response: lambda talker: talker.respond(**response)),
    sessions.map(lambda session: lambda talker: talker.update(**session)),
    st.sampled_from(["input_audio_buffer.commit", "input_audio_buffer.clear", "response.cancel"]).map(
        lambda kind: lambda talker: talker.send(kind)
    ),
    st.builds(edits, st.sampled_from(["delete", "retrieve"]), numbers, st.just({})),
    st.builds(
        lambda number, end_ms: edits("truncate", number, {"content_index": 0, "audio_end_ms": end_ms}),
        numbers,
        st.integers(0, 2_000),
    ),
)
nonsense: st.SearchStrategy[Action] = nearly_events.map(lambda event: lambda talker: talker.raw(json.dumps(event)))
losing: st.SearchStrategy[Action] = numbers.map(
    lambda number: lambda talker: talker.lose(list(talker.streams.open)[number % len(talker.streams.open)])
)
passing: st.SearchStrategy[Action] = st.one_of(
    st.sampled_from([0.1, 0.7, 1.5]).map(lambda seconds: lambda talker: talker.speak(seconds)),
    st.sampled_from([0.1, 2.0]).map(lambda seconds: lambda talker: talker.wait(seconds)),
)
actions = st.lists(
    st.tuples(passing, st.one_of(sensible, sensible, sensible, nonsense, losing)), min_size=2, max_size=7
).map(lambda pairs: [action for pair in pairs for action in pair])


def check_story(talker: Talker) -> None:
    """Responses, their items and parts begin and end in the order of the protocol, and everything begun ends."""
    open_items: dict[str, str] = {}
    responses: dict[str, bool] = {}
    for event in talker.events:
        kind, response = event["type"], event.get("response_id")
        match kind:
            case "response.created":
                responses[event["response"]["id"]] = True
            case "response.done":
                assert responses[event["response"]["id"]]
                responses[event["response"]["id"]] = False
                assert event["response"]["id"] not in open_items.values()
            case "response.output_item.added":
                assert responses[event["response_id"]]
                open_items[event["item"]["id"]] = event["response_id"]
            case "response.output_item.done":
                assert open_items.pop(event["item"]["id"]) == response
            case _ if response is not None:
                assert open_items[event["item_id"]] == response
    assert {name for name, active in responses.items() if active} == set(talker.state.responses)
    assert len([name for name in talker.state.responses if talker.state.responses[name].conversation_id]) <= 1


@settings(max_examples=60, deadline=None)
@given(speech(), scripts(), brains, voices, actions, st.booleans())
def test_no_conversation_breaks(
    utterances: list[Utterance], script: dict[str, Any], brain: Any, voice: Any, actions: list[Action], moving: bool
) -> None:
    talker = Talker(*utterances, brain=brain, voice=voice, moving=moving, **script)
    for action in actions:
        action(talker)
        if talker.closed is not None:
            break
    check_story(talker)


@settings(max_examples=150, deadline=None)
@given(nearly_events)
def test_what_is_nearly_an_event_is_answered(event: dict[str, Any]) -> None:
    talker = Talker()
    before = len(talker.events)
    talker.raw(json.dumps(event))
    told = talker.events[before:]
    quiet = event["type"] in ("input_audio_buffer.append",)
    assert told or quiet
    assert talker.closed is None
