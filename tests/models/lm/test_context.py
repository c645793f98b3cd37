"""Which tokens stay."""

from hypothesis import given
from hypothesis import strategies as st

from models.lm.context import History, Window

WINDOW = Window(context=40, sinks=4)


@given(length=st.integers(1, 400), pinned=st.integers(0, WINDOW.max_pinned))
def test_the_kept_tokens_fit_and_hold_prefix_and_recent_ones(length: int, pinned: int) -> None:
    history = History(WINDOW)
    history.replace(range(length), pinned)
    prefix = min(length, max(pinned, WINDOW.sinks))
    assert history.kept[:prefix] == list(range(prefix))
    recent = min(length, WINDOW.stride)
    assert history.kept[-recent:] == list(range(length - recent, length))
    assert min(length, WINDOW.context - WINDOW.stride) <= len(history.kept) <= WINDOW.context


@given(start=st.integers(1, 60), count=st.integers(0, 120), pinned=st.integers(0, WINDOW.max_pinned))
def test_growing_token_by_token_ends_where_a_fresh_start_does(start: int, count: int, pinned: int) -> None:
    grown, fresh = History(WINDOW), History(WINDOW)
    grown.replace(range(start), pinned)
    for token in range(start, start + count):
        grown.cached = len(grown.kept)
        grown.append(token)
    fresh.replace(range(start + count), pinned)
    assert grown.kept == fresh.kept
    assert grown.waiting >= 1


def test_a_cut_keeps_the_prefix_cached() -> None:
    history = History(WINDOW)
    history.replace(range(40), pinned=10)
    history.cached = 40
    history.append(40)
    assert history.kept == [*range(10), *range(20, 41)]
    assert history.cached == 10


def test_a_grown_conversation_costs_only_its_new_tokens() -> None:
    history = History(WINDOW)
    history.replace(range(45), pinned=10)
    history.cached = len(history.kept)
    history.replace(range(50), pinned=10)
    assert history.next_tokens(100) == list(range(45, 50))


def test_the_last_token_is_always_computed() -> None:
    history = History(WINDOW)
    history.replace(range(20), pinned=0)
    history.cached = 20
    history.replace(range(20), pinned=0)
    assert history.next_tokens(100) == [19]
