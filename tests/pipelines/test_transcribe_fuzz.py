"""Rules that hold whatever happens in whatever order, in one process or handed from one to another."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transcribe_events import (
    Cleared,
    Committed,
    Completed,
    Delta,
    Failed,
    GaveUp,
    SpeechStarted,
    SpeechStopped,
)
from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import SemanticVad, ServerVad
from tests.pipelines.listen import Story, Utterance, samples

MANUAL = TranscribeConfig(detection=None)
LISTENING = [
    TranscribeConfig(),
    MANUAL,
    TranscribeConfig(ServerVad(silence_duration_ms=0, prefix_padding_ms=0)),
    TranscribeConfig(ServerVad(silence_duration_ms=1_500, prefix_padding_ms=2_000, threshold=0.3)),
    TranscribeConfig(SemanticVad("high")),
    TranscribeConfig(SemanticVad("low"), language="de", words=True),
]

Action = Callable[[Story], object]


@st.composite
def speech(draw: st.DrawFn) -> list[Utterance]:
    """Utterances and the silences between them; every word is said once."""
    utterances, position = [], 0
    for index in range(draw(st.integers(1, 5))):
        start = position + draw(st.integers(0, samples(2)))
        position = start + draw(st.integers(samples(0.1), samples(3)) | st.integers(samples(8), samples(18)))
        count = (position - start) // samples(0.4)
        probability = draw(st.sampled_from([0.95, 0.95, 0.6, 0.4]))
        text = " ".join(f"u{index}w{word}" for word in range(count))
        utterances.append(Utterance(start, position, text, probability))
    return utterances


lags = st.sampled_from([0, 0, samples(0.05), samples(0.3), samples(2), samples(20)])


@st.composite
def scripts(draw: st.DrawFn) -> dict[str, Any]:
    finals = draw(st.lists(lags, min_size=1, max_size=4))
    probabilities = draw(st.lists(st.floats(0, 1), min_size=1, max_size=4))
    return {
        "vad_lag": draw(lags),
        "partial_lag": draw(lags),
        "streaming": draw(st.sampled_from([0, 0, 1_280, 2_560, 17_920])),
        "withdraws": draw(st.booleans()),
        "judge_lag": draw(lags),
        "final_lag": lambda segment: finals[segment % len(finals)],
        "finished": lambda pts: probabilities[pts // 512 % len(probabilities)],
    }


def heard(seconds: float, chunk_s: float) -> Action:
    return lambda story: story.hear(seconds, chunk_s)


def configured(config: TranscribeConfig) -> Action:
    return lambda story: story.configure(config)


hearing = st.builds(heard, st.sampled_from([3, 1.5, 0.7, 0.1, 0.03, 6, 17]), st.sampled_from([0.1, 0.02, 0.33, 20]))
asking: st.SearchStrategy[Action] = st.sampled_from([Story.commit, Story.clear, Story.settle])
configuring = st.builds(configured, st.sampled_from(LISTENING))
rarely: st.SearchStrategy[Action] = st.sampled_from([Story.settle] * 5 + [Story.lose])


def after_audio(then: st.SearchStrategy[Action]) -> st.SearchStrategy[list[Action]]:
    """Actions between stretches of audio."""
    pairs = st.lists(st.tuples(hearing, then), min_size=2, max_size=8)
    return pairs.map(lambda actions: [action for pair in actions for action in pair])


anything = after_audio(hearing | asking | configuring | rarely)
committing = after_audio(hearing | st.just(Story.commit))


def told(utterances: list[Utterance], config: TranscribeConfig, script: dict[str, Any], actions: list[Action]) -> Story:
    story = Story(*utterances, config=config, **script)
    for action in actions:
        action(story)
        if story.told(GaveUp):
            return story
    return story.hear(0.5).settle()


def check_items(story: Story) -> None:
    """Every item is told of in order, and nothing after it is over."""
    stages: dict[str, list[type]] = {}
    over: set[str] = set()
    for event in story.events:
        if isinstance(event, SpeechStarted | SpeechStopped | Committed | Delta | Completed | Failed):
            assert event.item not in over
            stages.setdefault(event.item, []).append(type(event))
        if isinstance(event, Completed | Failed):
            over.add(event.item)
        if isinstance(event, Cleared) and event.item:
            over.add(event.item)
            stages.pop(event.item, None)
    for kinds in stages.values():
        milestones = [kind for kind in kinds if kind is not Delta]
        assert milestones.count(Committed) <= 1
        if SpeechStopped in milestones:
            assert milestones.index(SpeechStarted) < milestones.index(SpeechStopped)
            assert milestones[milestones.index(SpeechStopped) + 1] is Committed
        if Completed in milestones:
            assert milestones[-2:] == [Committed, Completed]
    committed = [event.item for event in story.told(Committed)]
    completed = [event.item for event in story.told(Completed)]
    assert completed == [item for item in committed if item in completed]
    failed = {event.item for event in story.told(Failed)}
    unfinished = {item.id for item in story.pipeline.state.items}
    assert set(committed) <= set(completed) | failed | unfinished
    assert unfinished <= ({story.pipeline.state.items[-1].id} if unfinished else set())


def check_texts(story: Story) -> None:
    """With finals that say what partials said, the deltas of every item add up to its text."""
    for completed in story.told(Completed):
        assert story.deltas(completed.item) == completed.text


@settings(max_examples=150, deadline=None)
@given(speech(), st.sampled_from(LISTENING), scripts(), anything)
def test_every_story_obeys_the_rules(
    utterances: list[Utterance], config: TranscribeConfig, script: dict[str, Any], actions: list[Action]
) -> None:
    story = told(utterances, config, script, actions)
    check_items(story)
    check_texts(story)
    assert len(story.pipeline.state.frames) < 200


@settings(max_examples=100, deadline=None)
@given(speech(), scripts(), committing)
def test_a_manual_buffer_loses_no_word(
    utterances: list[Utterance], script: dict[str, Any], actions: list[Action]
) -> None:
    story = told(utterances, MANUAL, script, actions)
    story.hear(0.1).commit().settle()
    check_items(story)
    said = [text for text, _, until in story.stream._words(0, story.heard) if until <= story.heard]
    texts = " ".join(completed.text for completed in story.told(Completed)).split()
    assert texts[: len(said)] == said
    assert len(texts) <= len(said) + 1


@settings(max_examples=100, deadline=None)
@given(speech(), st.sampled_from(LISTENING), scripts(), anything, st.sets(st.integers(0, 15)))
def test_a_pipeline_goes_on_from_its_serialised_state(
    utterances: list[Utterance],
    config: TranscribeConfig,
    script: dict[str, Any],
    actions: list[Action],
    moves: set[int],
) -> None:
    moving = [action for index, action in enumerate(actions) for action in [Story.move] * (index in moves) + [action]]
    assert told(utterances, config, script, moving).effects == told(utterances, config, script, actions).effects
