"""The checkpoint that ships, on speech."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest

from models.asr.fastconformer.model import FastConformerStream
from models.base import Message
from models.linear import fastest_dtype
from tests.conftest import DATA
from training.asr.manifest import read_audio

CAPACITY = 32
CHUNK = 1_600
NAMES = ("question", "story", "stop", "sense_0880", "sense_0930")
CLIPS = tomllib.loads((DATA / "synthetic.toml").read_text())


@pytest.fixture(scope="module")
def directory(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("fastconformer-small")


def clip(name: str) -> bytes:
    """16 kHz mono int16."""
    return (read_audio(str(DATA / f"{name}.wav")) * 32_767).astype("<i2").tobytes()


def heard(
    model: FastConformerStream, clips: dict[int, bytes], starts: dict[int, int], lookahead_ms: int
) -> dict[int, tuple[str, list[str]]]:
    """The final text and the partial ones of each slot's clip, all spoken at once, each `starts` samples late."""
    for slot, late in starts.items():
        meta = {"segment": 0, "language": None, "prompt": None, "lookahead_ms": lookahead_ms}
        model.open(slot, {})
        model.push(slot, Message("audio", 0, bytes(2 * late)))
        model.push(slot, Message("follow", late, meta=meta))
    finals, partials = dict.fromkeys(clips, ""), {slot: list[str]() for slot in clips}
    at = 0
    while any(2 * at < len(pcm) + 2 * CHUNK for pcm in clips.values()):
        for slot, pcm in clips.items():
            piece, end = pcm[2 * at : 2 * at + 2 * CHUNK], starts[slot] + len(pcm) // 2
            if piece:
                model.push(slot, Message("audio", starts[slot] + at, piece, slack_s=1.0))
            elif 2 * at < len(pcm) + 2 * CHUNK:
                meta = {"segment": 0, "start": starts[slot], "language": None, "words": False}
                model.push(slot, Message("transcribe", end, meta=meta | {"lookahead_ms": lookahead_ms}))
        while work := list(model.pending()):
            slots = [pending.slot for pending in work if pending.bucket == work[0].bucket]
            for output in model.step(work[0].bucket, slots):
                if output.kind == "final":
                    finals[output.slot] = output.meta["text"]
                else:
                    partials[output.slot].append(output.meta["text"])
        at += CHUNK
    return {slot: (finals[slot], partials[slot]) for slot in clips}


def test_among_31_other_streams_the_words_are_the_same(directory: Path) -> None:
    model = FastConformerStream(directory, CAPACITY, max_batch=CAPACITY)
    clips = {slot: clip(NAMES[slot % len(NAMES)]) for slot in range(CAPACITY)}
    starts = {slot: 333 * slot for slot in clips}
    together = heard(model, clips, starts, 80)
    for slot in range(0, CAPACITY, 7):
        alone = heard(model, {slot: clips[slot]}, {slot: starts[slot]}, 80)
        assert alone[slot] == together[slot]
        assert alone[slot][0]


@pytest.mark.parametrize("lookahead_ms", [0, 80, 480, 1040])
def test_clear_speech_is_understood(directory: Path, lookahead_ms: int) -> None:
    model = FastConformerStream(directory, CAPACITY, dtype=fastest_dtype())
    names = dict(enumerate(("question", "story", "stop")))
    clips = {slot: clip(name) for slot, name in names.items()}
    texts = heard(model, clips, dict.fromkeys(clips, 0), lookahead_ms)
    said = [CLIPS[name] for name in names.values()]
    assert jiwer.wer(said, [texts[slot][0] for slot in names]) < 0.5
