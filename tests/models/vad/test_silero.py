"""Voice activity on real speech: probabilities, batching, bookkeeping, moving a stream."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

from models.audio import FloatArray
from models.base import Message, Output, StreamError
from models.vad.silero import BUCKET, FRAME_SAMPLES, SileroVad

CLIPS = ["sense_0870", "sense_0880", "sense_0930"]
CHUNK_BYTES = 3_200


@pytest.fixture(scope="module")
def directory(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("silero-vad")


@pytest.fixture
def vad(directory: Path) -> SileroVad:
    return SileroVad(directory, capacity=4)


def feed(vad: SileroVad, slot: int, pcm: bytes, pts: int = 0) -> None:
    for start in range(0, len(pcm), CHUNK_BYTES):
        vad.push(slot, Message("audio", pts + start // 2, pcm[start : start + CHUNK_BYTES], slack_s=0.5))


def drain(vad: SileroVad) -> dict[int, list[Output]]:
    outputs: dict[int, list[Output]] = {slot: [] for slot in range(vad.capacity)}
    while slots := [pending.slot for pending in vad.pending()]:
        for output in vad.step(BUCKET, slots):
            outputs[output.slot].append(output)
    return outputs


def speeches(outputs: list[Output]) -> list[float]:
    return [output.meta["speech"] for output in outputs]


def test_tells_speech_from_silence_and_noise(vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    noise = np.random.default_rng(0).normal(0, 300, 32_000).astype("<i2").tobytes()
    for slot, pcm in enumerate([speech("sense_0870"), bytes(64_000), noise]):
        vad.open(slot, {})
        feed(vad, slot, pcm)

    outputs = drain(vad)

    assert np.mean(np.array(speeches(outputs[0])) > 0.5) > 0.8
    assert max(speeches(outputs[1])) < 0.2
    assert np.mean(np.array(speeches(outputs[2])) > 0.5) < 0.1


def test_each_frame_hears_the_end_of_the_one_before(
    directory: Path, vad: SileroVad, speech: Callable[[str], bytes]
) -> None:
    pcm = speech("sense_0880")
    vad.open(0, {})
    feed(vad, 0, pcm)

    session = InferenceSession(directory / "silero_vad_16k_op15.onnx", providers=["CPUExecutionProvider"])
    audio = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)
    context: FloatArray = np.zeros(64, np.float32)
    state: FloatArray = np.zeros((2, 1, 128), np.float32)
    expected = []
    for frame in np.split(audio[: len(audio) // 512 * 512], len(audio) // 512):
        inputs = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(16_000, np.int64)}
        probability, state = session.run(None, inputs)
        context = frame[-64:]
        expected.append(probability.item())

    np.testing.assert_allclose(speeches(drain(vad)[0]), expected, atol=1e-6)


def test_every_frame_comes_out_once_in_order(vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0880")
    vad.open(0, {})
    feed(vad, 0, pcm)

    frames = len(pcm) // 2 // FRAME_SAMPLES
    outputs = drain(vad)[0]

    assert [output.pts for output in outputs] == [FRAME_SAMPLES * n for n in range(1, frames + 1)]
    assert {output.kind for output in outputs} == {"vad"}
    assert vad.consumed(0) == frames * FRAME_SAMPLES * 2


def test_batched_equals_alone_exactly(directory: Path, vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    alone = {}
    for slot, name in enumerate(CLIPS):
        single = SileroVad(directory, capacity=1)
        single.open(0, {})
        feed(single, 0, speech(name))
        alone[slot] = speeches(drain(single)[0])
        vad.open(slot, {})
        feed(vad, slot, speech(name))

    assert {slot: speeches(outputs) for slot, outputs in drain(vad).items() if outputs} == alone


def test_size_of_chunks_does_not_matter(vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0930")
    vad.open(0, {})
    feed(vad, 0, pcm)
    whole = speeches(drain(vad)[0])

    vad.open(1, {})
    pieces = []
    for start in range(0, len(pcm), 700):
        vad.push(1, Message("audio", start // 2, pcm[start : start + 700]))
        pieces += speeches(drain(vad)[1])

    assert pieces == whole


def test_a_reopened_slot_remembers_nothing(vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    runs = []
    for _ in range(2):
        vad.open(3, {})
        feed(vad, 3, speech("sense_0880"))
        runs.append(speeches(drain(vad)[3]))
    assert runs[0] == runs[1]


def test_pending_carries_the_slack_of_the_latest_audio(vad: SileroVad) -> None:
    vad.open(2, {})
    vad.push(2, Message("audio", 0, bytes(2 * FRAME_SAMPLES - 2), slack_s=0.1))
    assert list(vad.pending()) == []
    vad.push(2, Message("audio", FRAME_SAMPLES - 1, b"\0\0", slack_s=0.3))
    assert list(vad.pending()) == [(2, BUCKET, 0.3)]


def test_a_stream_moves_in_mid_speech(vad: SileroVad, speech: Callable[[str], bytes]) -> None:
    pcm = speech("sense_0870")
    half = 100_000
    vad.open(0, {})
    feed(vad, 0, pcm)
    whole = speeches(drain(vad)[0])

    vad.open(1, {})
    feed(vad, 1, pcm[:half])
    before = speeches(drain(vad)[1])
    vad.restore(2, vad.snapshot(1))
    vad.close(1)
    feed(vad, 2, pcm[half:], half // 2)

    assert before + speeches(drain(vad)[2]) == whole


def test_a_step_that_fails_changes_nothing(
    vad: SileroVad, speech: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    vad.open(0, {})
    feed(vad, 0, speech("sense_0880"))
    before = vad.snapshot(0)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(vad, "_session", type("Session", (), {"run": fail}))
        with pytest.raises(RuntimeError):
            vad.step(BUCKET, [0])

    assert vad.snapshot(0) == before
    assert vad.step(BUCKET, [0])


def test_refuses_audio_that_does_not_continue(vad: SileroVad) -> None:
    vad.open(0, {})
    with pytest.raises(StreamError) as error:
        vad.push(0, Message("audio", 5, b"ab"))
    assert error.value.param == "pts"
