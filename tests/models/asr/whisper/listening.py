"""Talking to a Whisper stream in tests."""

import string
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from models.asr.whisper.model import PARTIAL, Whisper
from models.base import Message, Output

CHUNK_BYTES = 3_200
WINDOW_S = 16.0
LONG = "sense_0870"
SHORT = "sense_0880"
CLIPS = [LONG, SHORT, "sense_0930"]

Speech = Callable[[str], bytes]


def follow(segment: int, start: int = 0, language: str | None = "en", prompt: str | None = None) -> Message:
    return Message("follow", start, meta={"segment": segment, "language": language, "prompt": prompt})


def transcribe(segment: int, start: int, end: int, **options: Any) -> Message:
    meta = {"segment": segment, "start": start, "language": "en", "prompt": None, "words": False} | options
    return Message("transcribe", end, meta=meta, slack_s=0.2)


def feed(whisper: Whisper, slot: int, pcm: bytes, pts: int = 0) -> list[Output]:
    """Push audio in chunks and step the slot whenever it is pending."""
    outputs: list[Output] = []
    for start in range(0, len(pcm), CHUNK_BYTES):
        whisper.push(slot, Message("audio", pts + start // 2, pcm[start : start + CHUNK_BYTES], slack_s=1.0))
        outputs += drain(whisper, slot)
    return outputs


def drain(whisper: Whisper, slot: int) -> list[Output]:
    outputs: list[Output] = []
    while work := [pending for pending in whisper.pending() if pending.slot == slot]:
        outputs += whisper.step(work[0].bucket, [slot])
    return outputs


def step_all(whisper: Whisper) -> list[Output]:
    """One step of all slots that have a partial to make."""
    slots = [pending.slot for pending in whisper.pending()]
    return whisper.step(PARTIAL, slots) if slots else []


def final(whisper: Whisper, slot: int, pcm: bytes, **options: Any) -> Output:
    """The final of a whole clip in a slot without audio."""
    whisper.open(slot, {})
    feed(whisper, slot, pcm)
    whisper.push(slot, transcribe(1, 0, len(pcm) // 2, **options))
    (output,) = drain(whisper, slot)
    return output


def texts(outputs: list[Output]) -> list[str]:
    return [output.meta["text"] for output in outputs]


def plain(text: str) -> str:
    return text.lower().replace("-", " ").translate(str.maketrans("", "", string.punctuation))


def growing(outputs: list[Output]) -> Iterator[bool]:
    partials = ["", *texts([output for output in outputs if output.kind == "partial"])]
    for former, latter in pairwise(partials):
        yield latter.startswith(former) and len(latter) > len(former)
