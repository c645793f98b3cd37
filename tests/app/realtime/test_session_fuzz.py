"""Whatever a client sends, and whatever the stream answers: no session breaks, and bad input is always answered."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.realtime.config import LOGPROBS, OPENAI_TRANSCRIBERS
from app.realtime.session import Limits
from tests.app.realtime.client import Client
from tests.pipelines.listen import Utterance
from tests.pipelines.test_transcribe_fuzz import scripts, speech

KINDS = ["session.update", "input_audio_buffer.append", "response.create", "transcription_session.update"]
LIMITS = Limits(session_max_s=200, idle_timeout_s=60)

Action = Callable[[Client], object]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "session", "audio", "input", "x"]), children, max_size=3)
    ),
    max_leaves=8,
)
no_audio = values.filter(lambda value: not isinstance(value, str) or not value or len(value) % 4 > 0)
almost_events = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)}, optional={"session": values, "audio": no_audio, "event_id": values, "x": values}
)
garbage = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30),
    values.map(json.dumps),
    almost_events.map(json.dumps),
    st.tuples(almost_events.map(json.dumps), st.integers(0, 20)).map(lambda cut: cut[0][: cut[1]]),
)
detections = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"type": st.just("server_vad")},
        optional={
            "threshold": st.floats(0, 1),
            "prefix_padding_ms": st.integers(0, 10_000),
            "silence_duration_ms": st.integers(0, 10_000),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("semantic_vad")}, optional={"eagerness": st.sampled_from(["low", "medium", "high", "auto"])}
    ),
)
transcriptions = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(sorted(OPENAI_TRANSCRIBERS)),
        "language": st.sampled_from(["en", "de", "zh"]),
        "prompt": st.text(max_size=9),
        "keywords": st.lists(st.text(max_size=9), max_size=3),
    },
)
formats = st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]).map(lambda name: {"type": name})
updates = st.fixed_dictionaries(
    {}, optional={"format": formats, "transcription": transcriptions, "turn_detection": detections}
)
includes: st.SearchStrategy[list[str] | None] = st.none() | st.just([LOGPROBS]) | st.just([])


def sends(message: str | bytes) -> Action:
    return lambda client: check_answered(client, message)


def updating(include: list[str] | None, fields: dict[str, Any]) -> Action:
    return lambda client: client.update(include, **fields)


def speaking(seconds: float, chunk_s: float) -> Action:
    return lambda client: client.speak(seconds, chunk_s)


def ticking(seconds: float) -> Action:
    return lambda client: client.tick(seconds)


bad = garbage.map(sends)
hearing = st.builds(speaking, st.sampled_from([3, 1.5, 0.7, 0.1, 6, 17]), st.sampled_from([0.1, 0.02, 0.33, 20]))
asking: st.SearchStrategy[Action] = st.sampled_from([Client.commit, Client.clear, Client.settle, Client.settle])
rarely: st.SearchStrategy[Action] = st.sampled_from([Client.settle] * 5 + [Client.lose])
time_passing = st.builds(ticking, st.floats(0, 30))
doing = st.one_of(bad, st.builds(updating, includes, updates), asking, rarely, time_passing)
actions = st.lists(st.tuples(hearing, doing), min_size=2, max_size=8).map(
    lambda pairs: [action for pair in pairs for action in pair]
)


def check_answered(client: Client, message: str | bytes) -> None:
    """Garbage is answered with one error, and changes nothing else."""
    before = unsequenced(client)
    assert [answer["type"] for answer in client.raw(message)] == ["error"]
    assert unsequenced(client) == before


def unsequenced(client: Client) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(client.state, sequence=0, heard_at=0.0))


def check_bounded(client: Client) -> None:
    """The session remembers only items whose text is awaited."""
    state = client.state
    awaited = {item.id for item in state.pipeline.items}
    assert set(state.announced) <= awaited
    assert set(state.held) <= awaited
    assert len(state.announced) == len(set(state.announced))
    assert len(state.pipeline.frames) < 200
    msgspec.msgpack.encode(state)


def check_story(client: Client) -> None:
    """Items are told of in the order of the protocol, each to its end."""
    started: list[str] = []
    committed: list[str] = []
    over: list[str] = []
    for event in client.events:
        kind, item = event["type"].removeprefix("conversation.item.input_audio_transcription."), event.get("item_id")
        match kind:
            case "input_audio_buffer.speech_started":
                assert item not in committed
                started.append(event["item_id"])
            case "input_audio_buffer.speech_stopped":
                assert item in started
                assert item not in committed
            case "input_audio_buffer.committed":
                assert item not in committed
                assert event["previous_item_id"] == (committed[-1] if committed else None)
                committed.append(event["item_id"])
            case "delta":
                assert item in started + committed
                assert item not in over
            case "completed" | "failed":
                assert item in committed or (kind == "failed" and item in started)
                assert item not in over
                over.append(event["item_id"])


@settings(max_examples=60, deadline=None)
@given(speech(), scripts(), actions, st.sets(st.integers(0, 15)))
def test_no_session_breaks(
    utterances: list[Utterance], script: dict[str, Any], actions: list[Action], moves: set[int]
) -> None:
    client = Client(*utterances, limits=LIMITS, **script)
    for index, action in enumerate(actions):
        if index in moves:
            client.move()
        action(client)
        check_bounded(client)
        if client.closed is not None:
            break
    else:
        client.settle()
        check_bounded(client)
    check_story(client)


@settings(max_examples=400, deadline=None)
@given(garbage)
def test_garbage_is_answered_with_one_error(message: str | bytes) -> None:
    check_answered(Client(), message)
