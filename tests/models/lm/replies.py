"""Driving a language model until nothing is pending."""

from collections import defaultdict
from random import Random
from typing import Any

from models.base import Message, Output, Pending
from models.lm.model import LanguageModel


def ask(model: LanguageModel, slot: int, text: str | list[int], **options: Any) -> None:
    """Send a `generate` message with a user's text or with tokens."""
    prompt: dict[str, Any] = {"tokens": text}
    if isinstance(text, str):
        prompt = {"messages": [{"role": "user", "content": text}]}
    model.push(slot, Message("generate", meta={**prompt, **options}))


def step(model: LanguageModel, random: Random | None = None) -> list[Output]:
    """One step of the first pending bucket, or with `random` of any bucket and any of its slots, in any order."""
    pending = [*model.pending()]
    bucket = (random.choice(pending) if random else pending[0]).bucket
    slots = [item.slot for item in pending if item.bucket == bucket]
    if random:
        slots = random.sample(slots, random.randint(1, len(slots)))
    return model.step(bucket, slots)


def finish(model: LanguageModel, random: Random | None = None) -> dict[int, list[Output]]:
    """Step until nothing is pending; outputs by slot."""
    outputs: dict[int, list[Output]] = defaultdict(list)
    while any(model.pending()):
        for output in step(model, random):
            outputs[output.slot].append(output)
    return outputs


def waiting(model: LanguageModel, slot: int) -> Pending:
    """What a slot waits for."""
    return next(item for item in model.pending() if item.slot == slot)


def tokens(outputs: list[Output]) -> list[int]:
    """The tokens among outputs."""
    return [output.meta["token"] for output in outputs if output.kind == "token"]


def text(outputs: list[Output]) -> str:
    """All text of outputs."""
    return "".join(output.meta["text"] for output in outputs if output.kind in ("token", "done"))
