"""Kokoro as a stream: text, words and samples of its output, cancelling, moving, sharing."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from models.base import Message, Output, StreamError
from models.tts.kokoro import MAX_SILENT_CHARS, Kokoro
from tests.models.tts.speaking import drain, pcm, say, text, texts
from workers.engine import Command, Delivery, Flush, Lane, Open, Push
from workers.scheduler import Batch

STORY = "Well, hello. I am Dr. Who, and pi is about 3.14! 😀 "


@pytest.fixture(scope="module")
def story(loaded: Kokoro) -> list[Output]:
    return say(loaded, STORY)


def test_speaks_clause_by_clause(story: list[Output]) -> None:
    assert [(output.kind, output.meta["text"]) for output in story] == [
        ("audio", "Well, hello."),
        ("audio", " I am Dr. Who,"),
        ("audio", " and pi is about 3.14!"),
        ("done", " 😀 "),
    ]
    assert "".join(texts(story)) == STORY


def test_samples_are_what_pts_say(story: list[Output]) -> None:
    assert story[0].pts == 0
    for former, latter in pairwise(story):
        assert latter.pts - former.pts == len(former.data) / 2
    assert all(0.4 < len(output.data) / 48_000 < 4 for output in story[:-1])


def test_words_are_in_order_within_their_audio(story: list[Output]) -> None:
    spoken = [[output.meta["text"][start:end] for start, end, *_ in output.meta["words"]] for output in story[:-1]]
    assert spoken == [["Well", "hello"], ["I", "am", "Dr.", "Who"], ["and", "pi", "is", "about", "3.14"]]
    for output in story[:-1]:
        times = [time for *_, start, end in output.meta["words"] for time in (start, end)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= len(output.data) / 2
        audio = np.abs(np.frombuffer(output.data, "<i2"))
        assert all(audio[start:end].max() > 1_000 for *_, start, end in output.meta["words"])


def test_joins_are_silent(story: list[Output]) -> None:
    for output in story[:-1]:
        audio = np.frombuffer(output.data, "<i2")
        assert abs(int(audio[0])) < 100
        assert abs(int(audio[-1])) < 100


def test_pieces_of_any_size_sound_the_same(kokoro: Kokoro, story: list[Output]) -> None:
    pieces = [STORY[start : start + 3] for start in range(0, len(STORY), 3)]
    outputs = say(kokoro, pieces)
    assert pcm(outputs) == pcm(story)
    assert texts(outputs) == texts(story)


def test_audio_leaves_before_the_text_is_complete(kokoro: Kokoro) -> None:
    kokoro.push(0, text("Yes, of course. And th"))
    assert texts(drain(kokoro, 0)) == ["Yes, of course."]
    assert kokoro.consumed(0) == len("Yes, of course.")


@pytest.mark.parametrize("silent", ["", "  \n ", "😀 🎉🎉", "... !?", "日本語"])
def test_what_cannot_be_said_comes_back(kokoro: Kokoro, silent: str) -> None:
    (done,) = say(kokoro, silent)
    assert (done.kind, done.pts, done.data, done.meta) == ("done", 0, b"", {"text": silent})
    assert kokoro.consumed(0) == len(silent.encode())


def test_endless_silence_is_not_kept(kokoro: Kokoro) -> None:
    kokoro.push(0, text("😀" * 3 * MAX_SILENT_CHARS))
    outputs = drain(kokoro, 0)
    assert {(output.kind, output.data, output.pts) for output in outputs} == {("audio", b"", 0)}
    assert kokoro.consumed(0) >= 4 * 2 * MAX_SILENT_CHARS


def test_long_text_without_punctuation_leaves_piece_by_piece(kokoro: Kokoro) -> None:
    kokoro.push(0, text("on and " * 7_142))
    (spoken,) = kokoro.step(next(iter(kokoro.pending())).bucket, [0])
    assert len(spoken.meta["text"]) < 40
    assert kokoro.consumed(0) == len(spoken.meta["text"])


def test_silent_text_leaves_with_the_speech_after_it(kokoro: Kokoro) -> None:
    (spoken, done) = say(kokoro, "😀!\n\nHi.")
    assert (spoken.meta["text"], done.meta["text"]) == ("😀!\n\nHi.", "")
    ((start, end, *_),) = spoken.meta["words"]
    assert spoken.meta["text"][start:end] == "Hi"


def test_options(kokoro: Kokoro, story: list[Output]) -> None:
    fast = say(kokoro, "Well, hello. ", speed=2.0)
    other = say(kokoro, "Well, hello. ", voice="fable")
    assert len(fast[0].data) < 0.7 * len(story[0].data)
    assert other[0].data != story[0].data
    assert say(kokoro, "Well, hello. ", voice="bm_fable")[0].data == other[0].data


@pytest.mark.parametrize(
    ("options", "param"),
    [({"voice": "nobody"}, "voice"), ({"voice": 3}, "voice"), ({"speed": 0.2}, "speed"), ({"speed": 4.1}, "speed")]
    + [({"speed": speed}, "speed") for speed in ("fast", None, float("nan"), True)],
)
def test_refuses_what_it_cannot_serve(kokoro: Kokoro, options: dict[str, object], param: str) -> None:
    with pytest.raises(StreamError) as error:
        kokoro.open(0, options)
    assert (error.value.code, error.value.param) == ("invalid_value", param)


def test_refuses_text_that_is_not_utf8_or_comes_after_the_end(kokoro: Kokoro) -> None:
    with pytest.raises(StreamError, match="UTF-8"):
        kokoro.push(0, Message("text", data=b"\xff\xfe"))
    kokoro.push(0, text("Hi."))
    kokoro.flush(0)
    with pytest.raises(StreamError, match="after flush"):
        kokoro.push(0, text("more"))


def test_cancel_drops_what_waits(kokoro: Kokoro) -> None:
    kokoro.push(0, text("One. Two. Three. Fo"))
    (spoken,) = kokoro.step(next(iter(kokoro.pending())).bucket, [0])
    kokoro.cancel(0, 1)
    assert list(kokoro.pending()) == []
    assert kokoro.consumed(0) == len("One. Two. Three. Fo")

    kokoro.push(0, text("Next. "))
    kokoro.flush(0)
    again, done = drain(kokoro, 0)
    assert (again.meta["text"], again.pts, done.meta["text"]) == ("Next.", len(spoken.data) // 2, " ")


def test_a_stream_moves_in_the_middle(kokoro: Kokoro, story: list[Output]) -> None:
    kokoro.push(0, text(STORY[:30]))
    outputs = kokoro.step(next(iter(kokoro.pending())).bucket, [0])
    kokoro.restore(1, kokoro.snapshot(0))
    kokoro.close(0)
    kokoro.push(1, text(STORY[30:]))
    kokoro.flush(1)
    outputs += drain(kokoro, 1)
    assert pcm(outputs) == pcm(story)
    assert [output.pts for output in outputs] == [output.pts for output in story]
    assert kokoro.consumed(1) == len(STORY.encode())


def test_delivered_audio_is_not_said_again(kokoro: Kokoro, story: list[Output]) -> None:
    kokoro.open(0, {})
    snapshot = kokoro.snapshot(0)
    inputs = [text(STORY[:25]), text(STORY[25:])]
    kokoro.resume(2, snapshot, inputs, story[:2])
    assert kokoro.consumed(2) == len("".join(texts(story[:2])))
    kokoro.flush(2)
    outputs = drain(kokoro, 2)
    assert pcm(outputs) == pcm(story[2:])
    assert texts(outputs) == texts(story[2:])
    assert outputs[0].pts == story[2].pts


def test_a_step_that_fails_changes_nothing(
    kokoro: Kokoro, story: list[Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    kokoro.push(0, text(STORY))
    before = kokoro.snapshot(0)
    with monkeypatch.context() as patch:
        patch.setattr(kokoro, "_say", _fail)
        with pytest.raises(RuntimeError):
            kokoro.step(next(iter(kokoro.pending())).bucket, [0])
    assert kokoro.snapshot(0) == before
    assert drain(kokoro, 0) == story[:-1]


def _fail(*_: object) -> None:
    raise RuntimeError("out of memory")


class Bystander:
    """Sees the order of steps."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def stepped(self, model: object, batch: Batch, seconds: float, given_up: Counter[int]) -> None:
        self.slots += batch.slots


@pytest.fixture
def turn(kokoro: Kokoro) -> Callable[..., tuple[Delivery, list[int]]]:
    """Apply commands and run one step of a lane whose clock stands still."""
    bystander = Bystander()
    lane = Lane([kokoro], lambda delivery: None, bystander, clock=lambda: 0.0)

    def run(*commands: Command) -> tuple[Delivery, list[int]]:
        return lane.turn(commands), bystander.slots

    return run


def test_the_stream_whose_listener_runs_out_first_goes_first(
    turn: Callable[..., tuple[Delivery, list[int]]],
) -> None:
    file, live = Push(0, text("One. Two. Three. ", slack_s=20)), Push(1, text("Four. Five. Six. ", slack_s=0.05))
    turn(Open(0, {}), Open(1, {}), file, live)
    turn()
    turn(Push(0, Message("pace", slack_s=0.0)), Push(1, Message("pace", slack_s=30.0)))
    delivery, slots = turn(Flush(0), Flush(1))
    assert slots == [1, 1, 0, 0]
    assert delivery.consumed[0] == len("One. Two.")


def test_a_new_pace_takes_the_place_of_the_old(turn: Callable[..., tuple[Delivery, list[int]]]) -> None:
    turn(Open(0, {}), Open(1, {}), *(Push(slot, text("One. Two. Three. ")) for slot in (0, 1)))
    turn(Push(0, Message("pace", slack_s=9.0)), Push(1, Message("pace", slack_s=8.0)))
    _, slots = turn(Push(1, Message("pace", slack_s=2.0)))
    assert slots == [0, 1, 1]
