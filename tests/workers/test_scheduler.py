from collections.abc import Mapping
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from workers.scheduler import Batch, Scheduler, Work

MODELS, BUCKETS, SLOTS = 3, "ab", 6
MAX_BATCH = (1, 3, SLOTS)
ALL_WORK = [Work(model, bucket, slot) for model in range(MODELS) for bucket in BUCKETS for slot in range(SLOTS)]

Ready = dict[Work, float]
ready_work: st.SearchStrategy[Ready] = st.dictionaries(st.sampled_from(ALL_WORK), st.floats(0, 4))
some_ready_work: st.SearchStrategy[Ready] = st.dictionaries(st.sampled_from(ALL_WORK), st.floats(0, 4), min_size=1)
rounds = st.lists(st.tuples(ready_work, st.floats(0, 2)), max_size=20)


def pick(ready: Ready, now: float = 0.0) -> Batch | None:
    scheduler = Scheduler(MAX_BATCH)
    scheduler.update(ready.items(), now)
    return scheduler.next_batch(now)


def members(batch: Batch) -> list[Work]:
    return [Work(batch.model, batch.bucket, slot) for slot in batch.slots]


@given(some_ready_work)
def test_the_batch_contains_the_earliest_deadline(ready: Ready) -> None:
    batch = pick(ready)
    assert batch is not None
    assert min(ready[work] for work in members(batch)) == min(ready.values())


@given(some_ready_work)
def test_a_batch_is_ready_work_of_one_model_and_bucket(ready: Ready) -> None:
    batch = pick(ready)
    assert batch is not None
    assert set(members(batch)) <= set(ready)


@given(some_ready_work)
def test_a_batch_is_as_full_as_it_can_be_and_no_fuller(ready: Ready) -> None:
    batch = pick(ready)
    assert batch is not None
    mates = [work for work in ready if (work.model, work.bucket) == (batch.model, batch.bucket)]
    assert len(batch.slots) == min(len(mates), MAX_BATCH[batch.model])


@given(some_ready_work)
def test_no_slot_is_twice_in_a_batch(ready: Ready) -> None:
    batch = pick(ready)
    assert batch is not None
    assert len(set(batch.slots)) == len(batch.slots)


@given(some_ready_work)
def test_a_batch_takes_the_earliest_deadlines_of_its_bucket(ready: Ready) -> None:
    batch = pick(ready)
    assert batch is not None
    mates = sorted(ready[work] for work in ready if (work.model, work.bucket) == (batch.model, batch.bucket))
    assert [ready[work] for work in members(batch)] == mates[: len(batch.slots)]


@given(rounds)
def test_work_keeps_its_deadline_while_it_stays_ready(rounds: list[tuple[Ready, float]]) -> None:
    scheduler = Scheduler(MAX_BATCH)
    expected: dict[Work, tuple[float, float]] = {}
    now = 0.0
    for ready, passed_s in rounds:
        now += passed_s
        scheduler.update(ready.items(), now)
        expected = {work: expected.get(work, (now + slack_s, now)) for work, slack_s in ready.items()}
        assert scheduler.ready == bool(expected)
        now += passed_s
        batch = scheduler.next_batch(now)
        assert (batch is None) == (not expected)
        if batch is not None:
            stepped = [expected.pop(work) for work in members(batch)]
            assert batch.late_s == tuple(now - deadline for deadline, _ in stepped)
            assert batch.queued_s == tuple(now - since for _, since in stepped)


@given(some_ready_work)
def test_stepped_work_is_not_ready_until_it_is_said_to_be(ready: Ready) -> None:
    scheduler = Scheduler(MAX_BATCH)
    scheduler.update(ready.items(), 0.0)
    stepped: list[Work] = []
    while (batch := scheduler.next_batch(0.0)) is not None:
        stepped += members(batch)
    assert sorted(stepped) == sorted(ready)


@given(st.sampled_from(ALL_WORK), st.floats(0, 2), st.floats(0.05, 1), st.floats(0, 1))
def test_nothing_starves_while_urgent_work_keeps_arriving(
    patient: Work, slack_s: float, step_s: float, others_slack_s: float
) -> None:
    scheduler = Scheduler(MAX_BATCH)
    urgent: Mapping[Work, float] = dict.fromkeys(ALL_WORK, 0.0)
    now, batches = 0.0, 0
    scheduler.update((dict.fromkeys(ALL_WORK, others_slack_s) | {patient: slack_s}).items(), now)
    while True:
        batch = scheduler.next_batch(now)
        assert batch is not None
        if patient in members(batch):
            break
        batches += 1
        now += step_s
        scheduler.update(urgent.items(), now)
    # Work that arrives after the patient one's deadline comes behind it; what was ready by then is stepped once each.
    assert batches <= ceil(slack_s / step_s) + len(ALL_WORK)


def test_nothing_ready_is_no_batch() -> None:
    scheduler = Scheduler(MAX_BATCH)
    assert not scheduler.ready
    assert scheduler.next_batch(0.0) is None
    scheduler.update([(ALL_WORK[0], 1.0)], 0.0)
    scheduler.update([], 1.0)
    assert scheduler.next_batch(1.0) is None


def test_tells_how_long_work_was_queued_and_how_late_it_is() -> None:
    scheduler = Scheduler([2])
    scheduler.update([(Work(0, "a", 0), 1.0)], 10.0)
    scheduler.update([(Work(0, "a", 0), 0.0), (Work(0, "a", 1), 5.0)], 10.5)
    assert scheduler.next_batch(12.0) == Batch(0, "a", slots=(0, 1), queued_s=(2.0, 1.5), late_s=(1.0, -3.5))


def test_of_equal_deadlines_the_longer_wait_goes_first() -> None:
    scheduler = Scheduler([1])
    scheduler.update([(Work(0, "a", 1), 1.0)], 0.0)
    scheduler.update([(Work(0, "a", 0), 0.0), (Work(0, "a", 1), 1.0)], 1.0)
    batch = scheduler.next_batch(1.0)
    assert batch is not None
    assert batch.slots == (1,)
