from hypothesis import given
from hypothesis import strategies as st

from app.realtime.playout import FRAME_BYTES, Cut, Frame, Playout

FRAME_MS = 20


def pcm(frames: float, value: int = 1) -> bytes:
    return bytes([value]) * int(FRAME_BYTES * frames)


def test_without_a_reply_nothing_is_played() -> None:
    assert Playout().frame() == Frame(None)


def test_a_reply_is_played_frame_by_frame_and_its_begin_and_end_are_told() -> None:
    playout = Playout()
    playout.add("reply", "item", pcm(2))
    playout.end("reply")
    assert [playout.frame() for _ in range(4)] == [
        Frame(pcm(1), started="reply"),
        Frame(pcm(1)),
        Frame(None, stopped="reply"),
        Frame(None),
    ]


def test_less_than_a_frame_waits_for_more() -> None:
    playout = Playout()
    playout.add("reply", "item", pcm(0.5))
    assert playout.frame() == Frame(None)
    playout.add("reply", "item", pcm(0.5))
    assert playout.frame() == Frame(pcm(1), started="reply")


def test_the_last_frame_is_filled_up() -> None:
    playout = Playout()
    playout.add("reply", "item", pcm(1.5))
    playout.end("reply")
    assert playout.frame().pcm == pcm(1)
    assert playout.frame().pcm == pcm(0.5) + bytes(FRAME_BYTES // 2)
    assert playout.frame().stopped == "reply"


def test_replies_do_not_overlap() -> None:
    playout = Playout()
    playout.add("first", "a", pcm(1, 1))
    playout.add("second", "b", pcm(1, 2))
    playout.end("second")
    assert playout.frame() == Frame(pcm(1, 1), started="first")
    assert playout.frame() == Frame(None)
    playout.end("first")
    assert playout.frame() == Frame(None, stopped="first")
    assert playout.frame() == Frame(pcm(1, 2), started="second")
    assert playout.frame() == Frame(None, stopped="second")


def test_a_silent_reply_is_not_told() -> None:
    playout = Playout()
    playout.end("unknown")
    playout.add("reply", "item", b"")
    playout.end("reply")
    assert [playout.frame(), playout.frame()] == [Frame(None), Frame(None)]


def test_what_is_cleared_is_cut_where_it_was_heard() -> None:
    playout = Playout()
    playout.add("heard", "whole", pcm(1))
    playout.add("heard", "half", pcm(2))
    playout.add("waiting", "unheard", pcm(3))
    playout.end("heard")
    playout.end("waiting")
    playout.frame()
    playout.frame()
    assert playout.clear() == (["heard"], [Cut("half", FRAME_MS), Cut("unheard", 0)])
    assert playout.frame() == Frame(None)
    assert playout.clear() == ([], [])


def test_what_comes_of_a_cleared_reply_is_not_played() -> None:
    playout = Playout()
    playout.add("reply", "item", pcm(1))
    playout.frame()
    assert playout.clear() == (["reply"], [Cut("item", FRAME_MS)])
    playout.add("reply", "item", pcm(5))
    assert playout.frame() == Frame(None)
    playout.end("reply")
    playout.add("next", "item", pcm(1, 2))
    assert playout.frame() == Frame(pcm(1, 2), started="next")


def test_of_a_reply_that_has_ended_only_what_was_not_heard_is_cut() -> None:
    playout = Playout()
    playout.add("reply", "item", pcm(1))
    playout.end("reply")
    playout.frame()
    assert playout.clear() == (["reply"], [])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3 * FRAME_BYTES)), max_size=30))
def test_every_sample_is_played_once_in_order(added: list[tuple[str, int]]) -> None:
    playout = Playout()
    given_to: dict[str, bytearray] = {}
    for number, (reply, size) in enumerate(added):
        piece = bytes([1 + number]) * size
        playout.add(reply, f"{reply}{number % 2}", piece)
        items = given_to.setdefault(reply, bytearray())
        items += piece
    for reply in given_to:
        playout.end(reply)
    played: list[bytes] = []
    while playout._voices:
        played.append(playout.frame().pcm or b"")
    assert sorted(b"".join(played).replace(b"\0", b"")) == sorted(b"".join(given_to.values()))
    assert all(len(frame) in (0, FRAME_BYTES) for frame in played)
