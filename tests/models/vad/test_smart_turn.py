"""End of turn on real speech: features, judgements, batching, bookkeeping, moving a stream."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.audio import FloatArray
from models.base import Message, Output, StreamError
from models.vad.smart_turn import BUCKET, HEARD_SAMPLES, SmartTurn, turn_features

# Ends (in samples) of the clips' sentences, and of pieces that leave the speaker in mid-word or mid-phrase.
SENTENCES = [("sense_0870", 113_600, 90_880), ("sense_0890", 84_800, 76_320), ("sense_0920", 96_800, 38_720)]


@pytest.fixture(scope="module")
def turn(checkpoint: Callable[[str], Path]) -> SmartTurn:
    return SmartTurn(checkpoint("smart-turn"), capacity=4, window_s=10.0)


def samples(pcm: bytes) -> FloatArray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)


def listen(turn: SmartTurn, slot: int, pcm: bytes, judge: int | None = None) -> None:
    turn.open(slot, {})
    for start in range(0, len(pcm), 3_200):
        turn.push(slot, Message("audio", start // 2, pcm[start : start + 3_200]))
    if judge is not None:
        turn.push(slot, Message("judge", judge, slack_s=0.2))


def judged(turn: SmartTurn) -> dict[int, Output]:
    slots = [pending.slot for pending in turn.pending()]
    return {output.slot: output for output in turn.step(BUCKET, slots)}


def probability(turn: SmartTurn, pcm: bytes, pts: int) -> float:
    listen(turn, 0, pcm, pts)
    return float(judged(turn)[0].meta["probability"])


def reference_features(audio: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The published formula, one frame and one filter at a time, in float64."""
    audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    padded = np.pad(audio, 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.array([np.abs(np.fft.rfft(padded[at : at + 400] * window)) ** 2 for at in range(0, len(audio), 160)]).T

    def hertz(mel: float) -> float:
        return 200 * mel / 3 if mel < 15 else 1_000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hertz(mel) for mel in np.linspace(0, top, 82)]
    bins = np.arange(201) * 40.0
    mel = np.empty((80, power.shape[1]))
    for band, (low, centre, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        triangle = np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)
        mel[band] = (triangle * 2 / (high - low)) @ power
    logs = np.log10(np.maximum(mel, 1e-10))
    return np.asarray((np.maximum(logs, logs.max() - 8) + 4) / 4)


def test_features_follow_the_published_formula(speech: Callable[[str], bytes]) -> None:
    rows = np.zeros((2, HEARD_SAMPLES), np.float32)
    for row, name in zip(rows, ["sense_0870", "sense_0880"], strict=True):
        audio = samples(speech(name))
        row[-len(audio) :] = audio

    features = turn_features(rows)

    assert features.shape == (2, 80, 800)
    assert features.dtype == np.float32
    for row, feature in zip(rows, features, strict=True):
        np.testing.assert_allclose(feature, reference_features(row.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize(("name", "end", "middle"), SENTENCES)
def test_tells_a_finished_sentence_from_one_cut_short(
    turn: SmartTurn, speech: Callable[[str], bytes], name: str, end: int, middle: int
) -> None:
    pcm = speech(name)
    assert probability(turn, pcm, end) > 0.9
    assert probability(turn, pcm, middle) < 0.1


def test_hears_the_8_s_before_the_question_only(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0870")
    asked = probability(turn, pcm, 90_880)
    assert probability(turn, pcm[: 2 * 90_880], 90_880) == asked

    padding = bytes(2 * HEARD_SAMPLES - len(pcm))
    plain = probability(turn, padding + pcm, HEARD_SAMPLES)
    assert probability(turn, pcm, len(pcm) // 2) == plain
    assert probability(turn, b"\0\x40" * 16_000 + padding + pcm, HEARD_SAMPLES + 16_000) == plain


def test_batched_equals_alone(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    alone = [probability(turn, speech(name), middle) for name, _, middle in SENTENCES]
    for slot, (name, _, middle) in enumerate(SENTENCES):
        listen(turn, slot, speech(name), middle)

    outputs = judged(turn)

    assert [outputs[slot].meta["probability"] for slot in range(3)] == alone
    assert [(output.kind, output.pts) for output in outputs.values()] == [("turn", middle) for *_, middle in SENTENCES]
    assert list(turn.pending()) == []


def test_the_latest_question_counts(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0890")
    listen(turn, 1, pcm, 40_000)
    turn.push(1, Message("judge", 84_800, slack_s=0.7))
    assert list(turn.pending()) == [(1, BUCKET, 0.7)]
    assert judged(turn)[1].pts == 84_800


def test_released_audio_is_still_heard(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0920")
    expected = probability(turn, pcm, len(pcm) // 2)

    listen(turn, 0, pcm)
    turn.push(0, Message("release", 80_000))
    assert turn.consumed(0) == 160_000
    turn.push(0, Message("judge", len(pcm) // 2))
    turn.push(0, Message("release", 10_000_000))
    assert turn.consumed(0) == len(pcm)

    assert judged(turn)[0].meta["probability"] == expected


def test_a_question_holds_the_audio_it_is_about(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0870") + bytes(80_000)
    expected = probability(turn, pcm, 90_880)

    listen(turn, 0, pcm, 90_880)
    turn.push(0, Message("release", len(pcm) // 2))
    assert turn.consumed(0) == 2 * 90_880
    assert judged(turn)[0].meta["probability"] == expected
    assert turn.consumed(0) == len(pcm)


@pytest.mark.parametrize("pts", [7_999, 16_001], ids=["released", "not received"])
def test_refuses_a_question_about_audio_that_is_not_there(turn: SmartTurn, pts: int) -> None:
    listen(turn, 0, bytes(32_000))
    turn.push(0, Message("release", 8_000))
    with pytest.raises(StreamError) as error:
        turn.push(0, Message("judge", pts))
    assert error.value.param == "pts"
    assert list(turn.pending()) == []


def test_a_stream_moves_with_its_question(turn: SmartTurn, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0870")
    expected = probability(turn, pcm, 90_880)

    listen(turn, 0, pcm[:160_000])
    turn.push(0, Message("release", 60_000))
    turn.restore(3, turn.snapshot(0))
    turn.push(3, Message("audio", 80_000, pcm[160_000:]))
    turn.push(3, Message("judge", 90_880))
    turn.restore(2, turn.snapshot(3))
    turn.close(3)

    assert turn.consumed(2) == 120_000
    assert judged(turn)[2].meta["probability"] == expected


def test_a_step_that_fails_changes_nothing(
    turn: SmartTurn, speech: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(turn, 0, speech("sense_0880"), 40_000)
    before = turn.snapshot(0)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(turn, "_session", type("Session", (), {"run": fail}))
        with pytest.raises(RuntimeError):
            turn.step(BUCKET, [0])

    assert turn.snapshot(0) == before
    assert judged(turn)[0].pts == 40_000
