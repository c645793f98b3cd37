"""How soon words are told while they are said: `python -m training.asr.delay CHECKPOINT MANIFEST... --lookahead-ms 80`.
Prints a JSON line a manifest.

A word's delay is from its end to the end of the audio that had been heard when it was first told as it stayed. Time to
compute it is not counted. Only utterances with word times are heard.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, NamedTuple

import jiwer
import msgspec
import numpy as np
import torch
import typer

from models.asr.fastconformer.model import FastConformerStream
from models.audio import SAMPLE_RATE_HZ
from models.base import Message
from models.linear import fastest_dtype
from training.asr.manifest import Utterance, read_manifest

_SLOTS = 16
_PIECE = 320
"""Samples that arrive at once, 20 ms."""
_SILENCE_S = 1.0


class Told(NamedTuple):
    """A word as it stayed, and when it was told, seconds of audio heard."""

    word: str
    at_s: float


def follow(model: FastConformerStream, utterances: Sequence[Utterance], lookahead_ms: int) -> list[list[Told]]:
    """The words told of each utterance and of the silence after it; at most as many as the model has slots."""
    told: list[list[Told]] = [[] for _ in utterances]
    audios = [np.pad(utterance.audio(), (0, round(_SILENCE_S * SAMPLE_RATE_HZ))) for utterance in utterances]
    meta = {"segment": 0, "language": None, "lookahead_ms": lookahead_ms}
    for slot in range(len(audios)):
        model.open(slot, {})
        model.push(slot, Message("follow", 0, meta=meta))
    for at in range(0, max(map(len, audios)), _PIECE):
        for slot, audio in enumerate(audios):
            if piece := (audio[at : at + _PIECE].clip(-1, 1) * 32_767).astype("<i2").tobytes():
                model.push(slot, Message("audio", at, piece))
        while pending := list(model.pending()):
            bucket = pending[0].bucket
            slots = [waiting.slot for waiting in pending if waiting.bucket == bucket][: model.max_batch]
            for output in model.step(bucket, slots):
                words, before = output.meta["text"].split(), told[output.slot]
                same = [old.word for old in before] == words[: len(before)]
                kept = before if same else before[:-1]
                now = [Told(word, (at + _PIECE) / SAMPLE_RATE_HZ) for word in words[len(kept) :]]
                told[output.slot] = kept + now
    return told


def delays(utterance: Utterance, told: Sequence[Told]) -> list[float]:
    """Of those of its words that were told, seconds."""
    said = utterance.alignment or []
    matcher = SequenceMatcher(None, [word for word, _, _ in said], [one.word for one in told], autojunk=False)
    return [
        told[block.b + n].at_s - said[block.a + n][2]
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    ]


def main(
    checkpoint: Annotated[Path, typer.Argument(exists=True, help="Directory, or .nemo file within it.")],
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", exists=True, help="JSON lines.")],
    lookahead_ms: Annotated[int, typer.Option(help="One that the checkpoint was trained for.")] = 80,
    most: Annotated[int, typer.Option(min=1, help="Utterances of a manifest, the first ones.")] = 10_000,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Follow all utterances while they are said."""
    torch.set_num_threads(threads)
    model = FastConformerStream(checkpoint, _SLOTS, max_batch=_SLOTS, dtype=fastest_dtype())
    for manifest in manifests:
        utterances = [utterance for utterance in read_manifest(manifest)[:most] if utterance.alignment]
        utterances.sort(key=lambda utterance: utterance.duration)
        groups = [utterances[start : start + _SLOTS] for start in range(0, len(utterances), _SLOTS)]
        heard = [told for group in groups for told in follow(model, group, lookahead_ms)]
        every = [delay for pair in zip(utterances, heard, strict=True) for delay in delays(*pair)]
        texts = [" ".join(one.word for one in told) for told in heard]
        line = {
            "manifest": manifest.name,
            "utterances": len(utterances),
            "words": len(every),
            "median_s": _percentile(every, 50),
            "p90_s": _percentile(every, 90),
            "wer": round(100 * float(jiwer.wer([utterance.text for utterance in utterances], texts)), 2),
            "lookahead_ms": lookahead_ms,
        }
        print(msgspec.json.encode(line).decode())


def _percentile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 2) if values else None


if __name__ == "__main__":
    typer.run(main)
