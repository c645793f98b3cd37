import random
from collections.abc import Sequence

import msgspec
import pytest

from pipelines.effects import OpenStream, Push, Show, StreamOutput
from pipelines.restyle import (
    MAX_FAILURES,
    SERVICE,
    Failed,
    Finished,
    Held,
    Restyle,
    Restyled,
    RestyleState,
    Unchanged,
    Unreadable,
)

LOST = StreamOutput("lost", meta={"code": "worker_lost", "message": "gone"})


@pytest.fixture
def restyle() -> Restyle:
    pipeline = Restyle(RestyleState({"prompt": "oil"}))
    assert pipeline.start() == [OpenStream(SERVICE, {"prompt": "oil"})]
    return pipeline


def frame(pts: int, dropped: int = 0) -> StreamOutput:
    return StreamOutput("frame", pts, b"jpeg", {"dropped": dropped})


def test_pictures_go_in_and_come_out(restyle: Restyle) -> None:
    assert restyle.show(90, b"in") == [Show(90, b"in", restyle.state.slack_s)]
    assert restyle.on_output(frame(90)) == [Restyled(90, b"jpeg", 0)]
    assert restyle.change({"prompt": "ink"}, {"prompt": "ink"}) == [Push("restyle", meta={"prompt": "ink"})]
    assert restyle.on_output(StreamOutput("same", 91)) == [Unchanged(91)]
    assert restyle.on_output(StreamOutput("held", 92)) == [Held(92)]
    told = StreamOutput("unreadable", 92, meta={"message": "no"})
    assert restyle.on_output(told) == [Unreadable(92, "no")]


@pytest.mark.parametrize(("apart_s", "slack_s"), [(0.5, 0.5), (1 / 8, 1 / 8), (0.001, 0.1), (60, 0.5)])
def test_a_picture_may_wait_until_the_next_is_due(restyle: Restyle, apart_s: float, slack_s: float) -> None:
    restyle.show(0, b"in")
    (show,) = restyle.show(int(apart_s * 90_000), b"in")
    assert isinstance(show, Show)
    assert show.slack_s == pytest.approx(slack_s)


def test_what_is_left_at_the_end_is_told_as_dropped(restyle: Restyle) -> None:
    for pts in range(5):
        restyle.show(pts, b"in")
    restyle.on_output(frame(3, dropped=2))
    assert restyle.finish() == [Push("flush")]
    assert restyle.on_output(StreamOutput("done", meta={"dropped": 0})) == [Finished(2)]


def test_a_lost_worker_costs_the_pictures_that_were_under_way(restyle: Restyle) -> None:
    restyle.change({"seed": 3}, {"prompt": "oil", "seed": 3})
    for pts in range(3):
        restyle.show(pts, b"in")
    assert restyle.on_output(LOST) == [OpenStream(SERVICE, {"prompt": "oil", "seed": 3})]
    restyle.show(3, b"in")
    assert restyle.on_output(frame(3)) == [Restyled(3, b"jpeg", 3)]


def test_a_stream_lost_at_the_end_is_flushed_again(restyle: Restyle) -> None:
    restyle.show(0, b"in")
    restyle.finish()
    assert restyle.on_output(LOST) == [OpenStream(SERVICE, {"prompt": "oil"}), Push("flush")]
    assert restyle.on_output(StreamOutput("done", meta={"dropped": 0})) == [Finished(1)]


def test_it_gives_up_in_the_end(restyle: Restyle) -> None:
    for _ in range(MAX_FAILURES):
        assert isinstance(restyle.on_output(LOST)[0], OpenStream)
    assert restyle.on_output(LOST) == [Failed("worker_lost", "gone")]


@pytest.mark.parametrize("kind", ["error", "refused"])
def test_a_refusal_is_told(restyle: Restyle, kind: str) -> None:
    output = StreamOutput(kind, meta={"code": "server_full", "message": "full"})
    assert restyle.on_output(output) == [Failed("server_full", "full")]


@pytest.mark.parametrize("seed", range(5))
def test_every_picture_is_answered_for_once_wherever_the_state_moves(seed: int) -> None:
    dice, pipeline = random.Random(seed), Restyle(RestyleState({"prompt": "x"}))
    shown, answered, queued = 0, 0, 0
    for pts in range(200):
        pipeline = Restyle(msgspec.json.decode(msgspec.json.encode(pipeline.state), type=RestyleState))
        pipeline.show(pts, b"in")
        shown, queued = shown + 1, queued + 1
        effects: Sequence[object] = []
        match dice.choice(["wait", "frame", "same", "unreadable", "lost"]):
            case "frame":
                effects = pipeline.on_output(frame(pts, dropped=queued - 1))
                queued = 0
            case "same" if queued:
                effects, queued = pipeline.on_output(StreamOutput("same", pts)), queued - 1
            case "unreadable" if queued:
                effects = pipeline.on_output(StreamOutput("unreadable", pts, meta={"message": ""}))
                queued -= 1
            case "lost" if pipeline.state.failures < MAX_FAILURES:
                pipeline.on_output(LOST)
                queued = 0
        answered += sum(1 + int(getattr(effect, "dropped", 0)) for effect in effects)
    (finished,) = pipeline.on_output(StreamOutput("done", meta={"dropped": 0}))
    assert isinstance(finished, Finished)
    assert answered + finished.dropped == shown
