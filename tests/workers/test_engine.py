import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Message, Output, Pending, StreamModel
from tests.workers.echo import BUG, POISON, REFUSED, SHORT_BYTES, SPOILT, Echo, Keeper
from tests.workers.harness import HUNG_S, SLACK_S
from workers.engine import Cancel, Close, Command, Delivery, Flush, Lane, Open, Push
from workers.metrics import WorkerMetrics

LONG = b"a long message"


def make_lane(*models: StreamModel) -> Lane:
    return Lane(models, deliver=lambda delivery: None, observer=WorkerMetrics("worker", "echo"))


def text(slot: int, data: bytes, pts: int = 0) -> Push:
    return Push(slot, Message("text", pts, data, slack_s=SLACK_S))


def turns(lane: Lane, commands: Iterable[Command] = ()) -> Delivery:
    """Turn until nothing happens any more; everything that happened."""
    total = Delivery()
    delivery = lane.turn(commands)
    while delivery:
        total.outputs += delivery.outputs
        total.consumed |= delivery.consumed
        total.faults += delivery.faults
        total.closed += delivery.closed
        delivery = lane.turn([])
    return total


def said(outputs: Iterable[Output], slot: int | None = None) -> list[bytes]:
    return [output.data for output in outputs if slot in (None, output.slot)]


def opened(*slots: int) -> list[Command]:
    return [Open(slot, {}) for slot in slots]


def test_commands_are_applied_in_order() -> None:
    lane = make_lane(Echo(1))
    commands = [*opened(0), text(0, b"a"), Cancel(0, 1), text(0, b"b"), text(0, b"c"), Flush(0)]
    outputs = turns(lane, commands).outputs
    assert [(output.kind, output.data) for output in outputs] == [("echo", b"B"), ("echo", b"C"), ("flushed", b"")]


def test_an_output_carries_what_the_model_said() -> None:
    (output,) = make_lane(Echo(1)).turn([*opened(0), text(0, b"a", pts=16)]).outputs
    assert output == Output(0, "echo", 16, b"A", {"digest": ord("a")})


def test_slots_that_are_ready_share_a_step() -> None:
    echo = Echo(3)
    delivery = make_lane(echo).turn([*opened(0, 1, 2), text(0, b"a"), text(1, b"b"), text(2, b"c")])
    assert echo.steps == [("short", (0, 1, 2))]
    assert said(delivery.outputs) == [b"A", b"B", b"C"]


def test_a_turn_is_at_most_one_step_of_one_bucket() -> None:
    echo = Echo(3)
    lane = make_lane(echo)
    lane.turn([*opened(0, 1, 2), text(0, b"a"), text(1, LONG), text(2, b"c")])
    assert echo.steps == [("short", (0, 2))]
    lane.turn([])
    assert echo.steps == [("short", (0, 2)), ("long", (1,))]


def test_a_step_takes_no_more_slots_than_the_model_can() -> None:
    echo = Echo(5, max_batch=2)
    turns(make_lane(echo), [*opened(*range(5)), *(text(slot, b"a") for slot in range(5))])
    assert [len(slots) for _, slots in echo.steps] == [2, 2, 1]


def test_models_get_the_kinds_they_accept() -> None:
    echo, keeper = Echo(1), Keeper(1)
    lane = make_lane(echo, keeper)
    delivery = turns(lane, [*opened(0), Push(0, Message("release", 3)), Push(0, Message("unheard of"))])
    assert not delivery.faults
    assert echo.steps == []


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [(POISON, "model_error", None), (SPOILT, "invalid_input", "data")],
    ids=["a bug in the step", "bad input"],
)
def test_a_slot_that_spoils_a_step_faults_alone(data: bytes, code: str, param: str | None) -> None:
    lane = make_lane(Echo(4))
    commands = [*opened(*range(4)), *(text(slot, b"%d" % slot) for slot in (0, 2, 3)), text(1, data), text(0, b"more")]
    delivery = turns(lane, commands)
    assert [(slot, error.code, error.param) for slot, error in delivery.faults] == [(1, code, param)]
    assert [said(delivery.outputs, slot) for slot in range(4)] == [[b"0", b"MORE"], [], [b"2"], [b"3"]]


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [(REFUSED, "invalid_input", "data"), (BUG, "model_error", None)],
    ids=["bad input", "a bug in push"],
)
def test_a_slot_whose_input_fails_faults_alone(data: bytes, code: str, param: str | None) -> None:
    lane = make_lane(Echo(2))
    delivery = turns(lane, [*opened(0, 1), text(0, data), text(0, b"ignored"), text(1, b"b")])
    assert [(slot, error.code, error.param) for slot, error in delivery.faults] == [(0, code, param)]
    assert said(delivery.outputs) == [b"B"]


def test_options_that_a_model_refuses_are_a_fault() -> None:
    lane = make_lane(Keeper(2), Echo(2))
    delivery = turns(lane, [Open(0, {"refused": 1}), Open(1, {}), text(0, b"a"), text(1, b"b")])
    assert [(slot, error.code, error.param) for slot, error in delivery.faults] == [(0, "invalid_option", "refused")]
    assert said(delivery.outputs) == [b"B"]


def test_a_faulted_slot_is_ignored_until_closed_and_then_usable() -> None:
    lane = make_lane(Echo(1))
    assert turns(lane, [*opened(0), text(0, b"queued"), text(0, POISON)]).faults
    assert not turns(lane, [text(0, b"a"), Flush(0), Cancel(0, 1), text(0, REFUSED)])
    assert turns(lane, [Close(0)]).closed == [0]
    again = turns(lane, [*opened(0), text(0, b"b")])
    assert again.outputs == [Output(0, "echo", 0, b"B", {"digest": ord("b")})]
    assert not again.faults


def test_a_closed_slot_is_answered_and_says_nothing_more() -> None:
    lane = make_lane(Echo(2), Keeper(2))
    delivery = turns(lane, [*opened(0, 1), text(0, b"a"), text(1, b"b"), Close(0), text(0, b"c")])
    assert delivery.closed == [0]
    assert said(delivery.outputs) == [b"B"]
    assert delivery.consumed == {1: 1}


def test_consumed_is_what_every_model_has_let_go_of() -> None:
    lane = make_lane(Echo(1), Keeper(1))
    delivery = turns(lane, [Open(0, {"keep": True}), text(0, b"abc"), text(0, b"defg")])
    assert said(delivery.outputs) == [b"ABC", b"DEFG"]
    assert delivery.consumed == {}
    assert turns(lane, [Push(0, Message("release", 5))]).consumed == {0: 5}
    assert turns(lane, [text(0, b"hi"), Push(0, Message("release", 9))]).consumed == {0: 9}


def test_consumed_is_told_when_it_grows_and_starts_anew() -> None:
    lane = make_lane(Echo(2))
    assert lane.turn([*opened(0, 1), text(0, b"abc"), text(1, LONG)]).consumed == {0: 3}
    assert lane.turn([]).consumed == {1: len(LONG)}
    assert turns(lane, [Close(0)]).consumed == {}
    assert turns(lane, [*opened(0), text(0, b"abc")]).consumed == {0: 3}


def test_cancelled_input_is_consumed() -> None:
    assert turns(make_lane(Echo(1)), [*opened(0), text(0, b"abc"), Cancel(0, 1)]).consumed == {0: 3}


data = st.binary(max_size=2 * SHORT_BYTES).filter(lambda data: data not in (BUG, POISON, REFUSED, SPOILT))
arrivals = st.lists(st.lists(st.tuples(st.integers(0, 3), data)))


@given(arrivals)
def test_a_stream_alone_says_what_it_says_in_a_ragged_batch(arrivals: list[list[tuple[int, bytes]]]) -> None:
    together = make_lane(Echo(4, max_batch=3))
    outputs = turns(together, opened(*range(4))).outputs
    for arrived in arrivals:
        outputs += together.turn([text(slot, data) for slot, data in arrived]).outputs
    outputs += turns(together).outputs
    for slot in range(4):
        own = [text(slot, data) for arrived in arrivals for owner, data in arrived if owner == slot]
        alone = turns(make_lane(Echo(4)), [*opened(slot), *own]).outputs
        assert alone == [output for output in outputs if output.slot == slot]


@contextmanager
def started(*models: StreamModel) -> Iterator[tuple[Lane, "queue.SimpleQueue[Delivery]"]]:
    deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    lane = Lane(models, deliveries.put, WorkerMetrics("worker", "echo"))
    lane.start()
    try:
        yield lane, deliveries
    finally:
        lane.stop()


def test_a_started_lane_delivers_what_is_submitted_from_any_thread() -> None:
    with started(Echo(4)) as (lane, deliveries):

        def speak(slot: int) -> None:
            lane.submit(Open(slot, {}))
            for number in range(50):
                lane.submit(text(slot, b"%d" % number))
            lane.submit(Flush(slot))

        speakers = [Thread(target=speak, args=(slot,)) for slot in range(4)]
        for speaker in speakers:
            speaker.start()
        outputs: list[Output] = []
        while sum(output.kind == "flushed" for output in outputs) < 4:
            outputs += deliveries.get(timeout=HUNG_S).outputs
    for slot in range(4):
        assert said(outputs, slot) == [*(b"%d" % number for number in range(50)), b""]


def test_an_idle_lane_wakes_for_a_command() -> None:
    with started(Echo(1)) as (lane, deliveries):
        lane.submit(Open(0, {}))
        for word in (b"a", b"b"):
            lane.submit(text(0, word))
            assert said(deliveries.get(timeout=HUNG_S).outputs) == [word.upper()]
        lane.submit(Close(0))
        assert deliveries.get(timeout=HUNG_S).closed == [0]


def test_a_stopped_lane_does_not_run() -> None:
    with started(Echo(1)) as (lane, deliveries):
        assert lane.running
    assert not lane.running
    lane.submit(Close(0))
    assert deliveries.empty()


class Broken(Echo):
    """Its fault is no stream's."""

    def pending(self) -> Iterable[Pending]:
        raise RuntimeError("broken")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_that_is_no_streams_ends_the_lane() -> None:
    with started(Broken(1)) as (lane, _):
        lane.submit(Open(0, {}))
        lane._thread.join(HUNG_S)
        assert not lane.running
