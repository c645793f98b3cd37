"""Word error rates: `python -m training.asr.wer CHECKPOINT MANIFEST... --lookahead-ms 80`, a JSON line a manifest.

The checkpoint is run as it is served: in slots, chunk by chunk; a Whisper one utterance at a time. Texts are
compared as they are said, in letters alone.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jiwer
import msgspec
import numpy as np
import torch
import typer

from models.asr.checkpoints import is_whisper
from models.asr.fastconformer.model import FastConformerStream
from models.asr.whisper.model import Whisper
from models.audio import FloatArray
from models.base import Message
from models.linear import fastest_dtype
from training.asr.manifest import read_manifest
from training.asr.texts import spoken

_SLOTS = 16


def recognise(model: FastConformerStream | Whisper, audios: Sequence[FloatArray], lookahead_ms: int) -> list[str]:
    """The final text of each utterance, float32 `[N]` at 16 kHz; at most as many as the model has slots."""
    for slot, audio in enumerate(audios):
        data = (np.clip(audio, -1, 1) * 32_767).astype("<i2").tobytes()
        meta = {
            "segment": 0,
            "start": 0,
            "language": "en",
            "words": False,
            "lookahead_ms": lookahead_ms,
            "prompt": None,
        }
        model.open(slot, {})
        model.push(slot, Message("audio", 0, data))
        model.push(slot, Message("transcribe", len(audio), meta=meta))
    texts = [""] * len(audios)
    while pending := list(model.pending()):
        bucket = pending[0].bucket
        slots = [waiting.slot for waiting in pending if waiting.bucket == bucket][: model.max_batch]
        for output in model.step(bucket, slots):
            texts[output.slot] = output.meta["text"]
    return texts


def main(
    checkpoint: Annotated[Path, typer.Argument(exists=True, help="Directory, or .nemo file within it.")],
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", exists=True, help="JSON lines.")],
    lookahead_ms: Annotated[int, typer.Option(help="One that the checkpoint was trained for.")] = 80,
    most: Annotated[int, typer.Option(min=1, help="Utterances of a manifest, the first ones.")] = 10_000,
    longest_s: Annotated[float, typer.Option(min=0, help="Longer ones are left out; a Whisper takes 15 s.")] = 30.0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    show: Annotated[int, typer.Option(min=0, help="Print so many texts and what was heard.")] = 0,
) -> None:
    """Recognise all utterances and count the words that differ."""
    torch.set_num_threads(threads)
    model: FastConformerStream | Whisper
    if is_whisper(checkpoint):
        model = Whisper(checkpoint, _SLOTS, threads=threads)
    else:
        model = FastConformerStream(checkpoint, _SLOTS, max_batch=_SLOTS, dtype=fastest_dtype())
    for manifest in manifests:
        utterances = [utterance for utterance in read_manifest(manifest)[:most] if utterance.duration <= longest_s]
        utterances.sort(key=lambda utterance: utterance.duration)
        kinds = defaultdict[str, list[tuple[str, str]]](list)
        began = time.monotonic()
        for start in range(0, len(utterances), _SLOTS):
            group = utterances[start : start + _SLOTS]
            heard = recognise(model, [utterance.audio() for utterance in group], lookahead_ms)
            for utterance, text in zip(group, heard, strict=True):
                for kind in ("all", utterance.engine or utterance.source):
                    kinds[kind].append((utterance.text, spoken(text) or text))
        wer = {kind: _wer(pairs) for kind, pairs in kinds.items()}
        pace = sum(utterance.duration for utterance in utterances) / (time.monotonic() - began)
        line = {"manifest": manifest.name, "utterances": len(utterances), "wer": wer, "pace": round(pace, 1)}
        print(msgspec.json.encode(line | {"lookahead_ms": lookahead_ms}).decode())
        for said, text in kinds["all"][:: max(1, len(utterances) // show)] if show else []:
            print(f"  {said}\n  {text}\n")


def _wer(pairs: Sequence[tuple[str, str]]) -> float:
    """Percent."""
    said, heard = zip(*pairs, strict=True)
    return round(100 * float(jiwer.wer(list(said), list(heard))), 2)


if __name__ == "__main__":
    typer.run(main)
