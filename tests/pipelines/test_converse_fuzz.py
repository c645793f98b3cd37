"""Rules of conversations that hold whatever happens in whatever order, in one process or handed from one to another."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversation import ItemError
from pipelines.converse import ReplyError
from pipelines.converse_events import ItemFinished, ItemStarted
from pipelines.converse_state import ConverseConfig
from pipelines.items import FunctionCall, FunctionCallOutput, Item, Message
from pipelines.transcribe_events import Committed, Completed, Failed, GaveUp
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import SemanticVad, ServerVad
from tests.pipelines.converse import REQUEST, Story, changed, check_replies, written
from tests.pipelines.listen import Utterance
from tests.pipelines.speak import Voice
from tests.pipelines.test_transcribe_fuzz import scripts, speech
from tests.pipelines.think import Answer, Brain, Call, Fails

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
DETECTIONS = [
    None,
    ServerVad(),
    ServerVad(silence_duration_ms=1_200),
    SemanticVad("high"),
    SemanticVad(),
]
ANSWERS: list[Answer] = [
    "Yes.",
    "Well, let me think about that, for a while. It is a long story, and it goes on, and on, and on. The end.",
    "no punctuation but a good many words one after the other until it is over",
    "",
    "🎉",
    Call("look", '{"at":"it"}'),
    ["One moment, please.", Call("look"), Call("look", '{"at":"that"}')],
    ["I would say, that", Fails()],
    Fails(),
]

Action = Callable[[Story], object]

configs = st.builds(
    lambda detection, fields: changed(ConverseConfig(TranscribeConfig(detection), REQUEST), **fields),
    st.sampled_from(DETECTIONS),
    st.fixed_dictionaries(
        {},
        optional={
            "create_response": st.booleans(),
            "interrupt_response": st.booleans(),
            "audio": st.booleans(),
            "tools": st.just(TOOLS),
            "max_tokens": st.integers(1, 30),
            "instructions": st.sampled_from(["", "Be kind."]),
        },
    ),
)
brains = st.builds(
    lambda said, first_token_s, token_s, held, in_flight_s: Brain(
        lambda messages: said[len(messages) % len(said)], first_token_s, token_s, held, in_flight_s
    ),
    st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([0.0, 0.02, 0.2]),
    st.sampled_from([0, 3]),
    st.sampled_from([0.0, 0.1, 1.0]),
)
voices = st.builds(Voice, st.sampled_from([0.05, 0.25]), st.sampled_from([0.0, 0.1, 1.0]))


def refusable(action: Action) -> Action:
    """What may be refused, and then changes nothing."""

    def attempt(story: Story) -> None:
        before = len(story.effects)
        try:
            action(story)
        except (ItemError, ReplyError):
            assert len(story.effects) == before

    return attempt


def some_item(story: Story, number: int) -> str:
    items = story.pipeline.conversation.items
    return items[number % len(items)].id if items else "nothing"


def adds_result(story: Story) -> None:
    """Answers the last call."""
    calls = [item.call_id for item in story.pipeline.conversation.items if isinstance(item, FunctionCall)]
    story.create_item(FunctionCallOutput(f"result {story.now}", calls[-1] if calls else "none", "fine"))


def loses(number: int, kind: str) -> Action:
    def lose(story: Story) -> None:
        names = list(story.streams)
        story.lose(names[number % len(names)], kind)

    return lose


def crowding(services: set[str]) -> Action:
    """Services have no free slot for a while."""

    def crowd(story: Story) -> None:
        story.refuse(*services)

    return crowd


numbers = st.integers(0, 9)
acting: st.SearchStrategy[Action] = st.one_of(
    st.sampled_from([Story.commit, Story.clear, Story.settle]),
    st.builds(lambda config: lambda story: story.configure(config), configs),
    st.just(refusable(Story.reply)),
    st.just(refusable(Story.cancel)),
    st.builds(
        lambda audio, own: refusable(
            lambda story: story.reply([written("Apart.", "own")] if own else None, in_conversation=False, audio=audio)
        ),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda number: refusable(
            lambda story: story.reply([story.pipeline.conversation.find(some_item(story, number))])
        ),
        numbers,
    ),
    st.builds(
        lambda number: refusable(lambda story: story.create_item(written("Typed.", f"typed {story.now} {number}"))),
        numbers,
    ),
    st.builds(lambda number: refusable(lambda story: story.create_item(written("Mine.", f"item_{number}"))), numbers),
    st.just(refusable(adds_result)),
    st.builds(lambda number: refusable(lambda story: story.delete_item(some_item(story, number))), numbers),
    st.builds(
        lambda number, end_ms: refusable(lambda story: story.truncate_item(some_item(story, number), end_ms)),
        numbers,
        st.integers(0, 3_000),
    ),
)
rarely: st.SearchStrategy[Action] = st.one_of(
    st.builds(loses, numbers, st.sampled_from(["lost", "error", "refused"])),
    st.builds(crowding, st.sets(st.sampled_from(["think", "speak"]))),
)
passing: st.SearchStrategy[Action] = st.one_of(
    st.builds(lambda seconds: lambda story: story.hear(seconds), st.sampled_from([0.06, 0.3, 0.7, 1.5, 3.0])),
    st.builds(lambda seconds: lambda story: story.wait(seconds), st.sampled_from([0.06, 0.7, 3.0])),
)
anything = st.lists(
    st.tuples(passing, acting | acting | acting | rarely).flatmap(lambda pair: st.just(list(pair))),
    min_size=2,
    max_size=8,
).map(lambda pairs: [action for pair in pairs for action in pair])


def told(
    utterances: list[Utterance], config: ConverseConfig, actions: list[Action], moving: bool = False, **parts: Any
) -> Story:
    story = Story(*utterances, config=config, moving=moving, **parts)
    for action in actions:
        action(story)
        if story.told(GaveUp):
            return story
        check_bounds(story)
    story.refuse()
    return story.hear(1).settle().wait(40).hear(0.1)


def check_bounds(story: Story) -> None:
    """Nothing is remembered of what is over, and no stream is left open."""
    state = story.pipeline.state
    assert sum(reply.guess is not None for reply in state.replies.all) <= 1
    assert sum(reply.request.in_conversation and reply.guess is None for reply in state.replies.all) <= 1
    unsettled = {item.id for item in state.listen.items}
    assert set(state.unheard) <= unsettled
    assert set(state.ended) <= unsettled
    assert state.onset is None or state.onset.item in unsettled
    ids = [item.id for item in state.conversation.items]
    assert len(ids) == len(set(ids))
    check_replies(story)


def _by_client(item: Item) -> bool:
    """Whether the client made it, perhaps under the name of one that was deleted."""
    return isinstance(item, Message) and item.role == "user"


def check_end(story: Story) -> None:
    """Once all is quiet, every reply is over, every item complete, and every stream but two is closed."""
    if story.told(GaveUp):
        return
    state = story.pipeline.state
    waiting = [reply for reply in state.replies.all if not reply.waiting and not reply.commits and reply.guess is None]
    assert waiting == []
    if not state.listen.items:
        assert [reply for reply in state.replies.all if reply.guess is None] == []
        assert state.onset is None
    started = {event.item.id for event in story.told(ItemStarted)}
    kept = [item for item in state.conversation.items if item.id in started and not _by_client(item)]
    assert all(item.status != "in_progress" for item in kept)
    finished = {event.item.id: event.item for event in story.told(ItemFinished)}
    for item in kept:
        if isinstance(item, Message) and item.status == "completed":
            assert item == finished[item.id]
    if not state.wanted and not state.listen.items:
        assert not story.think.busy


def check_turns(story: Story) -> None:
    """Items that are told of are those of listening, in its order; none joins the conversation unannounced."""
    committed = [event.item for event in story.told(Committed)]
    assert len(committed) == len(set(committed))
    over = [event.item for event in story.told(Completed)] + [event.item for event in story.told(Failed)]
    assert len(over) == len(set(over))
    spoken = [
        item.id
        for item in story.pipeline.conversation.items
        if isinstance(item, Message) and item.content and item.content[0].type == "input_audio"
    ]
    assert set(spoken) <= set(committed)


@settings(max_examples=120, deadline=None)
@given(speech(), configs, scripts(), brains, voices, anything)
def test_every_conversation_obeys_the_rules(
    utterances: list[Utterance],
    config: ConverseConfig,
    script: dict[str, Any],
    brain: Brain,
    voice: Voice,
    actions: list[Action],
) -> None:
    story = told(utterances, config, actions, brain=brain, voice=voice, **script)
    check_replies(story)
    check_turns(story)
    check_end(story)


@settings(max_examples=50, deadline=None)
@given(speech(), configs, scripts(), brains, voices, anything)
def test_a_conversation_goes_on_from_its_serialised_state(
    utterances: list[Utterance],
    config: ConverseConfig,
    script: dict[str, Any],
    brain: Brain,
    voice: Voice,
    actions: list[Action],
) -> None:
    stayed, moved = (
        told(utterances, config, actions, moving, brain=brain, voice=voice, **script) for moving in (False, True)
    )
    assert moved.effects == stayed.effects
    assert moved.pipeline.state == stayed.pipeline.state
