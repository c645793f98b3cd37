"""Talking through a Kokoro stream in tests."""

from collections.abc import Iterable
from typing import Any

from models.base import Message, Output
from models.tts.kokoro import Kokoro


def text(piece: str, slack_s: float = 0.0) -> Message:
    return Message("text", data=piece.encode(), slack_s=slack_s)


def drain(kokoro: Kokoro, slot: int) -> list[Output]:
    """Step the slot until nothing is pending."""
    outputs: list[Output] = []
    while work := [pending for pending in kokoro.pending() if pending.slot == slot]:
        outputs += kokoro.step(work[0].bucket, [slot])
    return outputs


def say(kokoro: Kokoro, pieces: str | Iterable[str], slot: int = 0, **options: Any) -> list[Output]:
    """All output of a stream that is given `pieces` one after the other and steps as soon as it can."""
    kokoro.open(slot, options)
    outputs: list[Output] = []
    for piece in [pieces] if isinstance(pieces, str) else pieces:
        kokoro.push(slot, text(piece))
        outputs += drain(kokoro, slot)
    kokoro.flush(slot)
    return outputs + drain(kokoro, slot)


def texts(outputs: Iterable[Output]) -> list[str]:
    return [output.meta["text"] for output in outputs]


def pcm(outputs: Iterable[Output]) -> bytes:
    return b"".join(output.data for output in outputs)
