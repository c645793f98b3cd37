"""Short things that people say to an assistant: numbers, dates, times, spelled names, commands and answers."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

_SLOT = re.compile(r"\{(\w+)\}")


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    answers: tuple[str, ...]
    frames: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]


_DOCUMENT = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=_Document)


def everyday(count: int, seed: int) -> list[str]:
    """Every answer once and about `count` filled frames; the same `seed` gives the same."""
    dice = random.Random(seed)
    frames = _DOCUMENT.frames
    return [*_DOCUMENT.answers, *(_fill(frames[number % len(frames)], dice) for number in range(count))]


def _fill(frame: str, dice: random.Random) -> str:
    """A frame with its slots filled, those that a filler brings along too."""
    while slot := _SLOT.search(frame):
        name = slot[1]
        filler = _NUMBERS[name](dice) if name in _NUMBERS else dice.choice(_DOCUMENT.slots[name])
        frame = frame[: slot.start()] + filler + frame[slot.end() :]
    return frame[0].upper() + frame[1:]


def _time(dice: random.Random) -> str:
    hour, minute = dice.randint(1, 12), dice.choice((0, 15, 30, 45, dice.randint(1, 59)))
    half = dice.choice((" am", " pm", ""))
    if not minute and half:
        return f"{hour}{half}"
    exact = f"{hour}:{minute:02}"
    return dice.choice((f"{exact}{half}", exact, f"half past {hour}", "noon", f"{hour}:30"))


def _date(dice: random.Random) -> str:
    return f"{dice.choice(_DOCUMENT.slots['month'])} {_ordinal(dice)}"


def _number(dice: random.Random) -> str:
    value = dice.choice((dice.randint(0, 20), dice.randint(0, 100), dice.randint(100, 1000), dice.randint(0, 10**6)))
    return f"{value:,}" if value > 9999 or dice.random() < 0.9 else f"{value / 10:.1f}"


def _phone(dice: random.Random) -> str:
    return f"{dice.randint(200, 999)}-{dice.randint(100, 999)}-{dice.randint(0, 9999):04}"


def _ordinal(dice: random.Random) -> str:
    number = dice.randint(1, 31)
    return f"{number}{'th' if 10 < number < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _spelled(dice: random.Random) -> str:
    return ".".join(dice.choice(_DOCUMENT.slots["name"]).upper()) + "."


_NUMBERS: dict[str, Callable[[random.Random], str]] = {
    "date": _date,
    "year": lambda dice: str(dice.randint(1850, 2035)),
    "time": _time,
    "count": lambda dice: str(dice.randint(1, 99)),
    "number": _number,
    "ordinal": _ordinal,
    "price": lambda dice: f"{dice.randint(1, 99)}.{dice.randint(1, 99):02}",
    "money": lambda dice: f"{dice.randint(1, 9999):,}",
    "digits": lambda dice: " ".join(str(dice.randint(0, 9)) for _ in range(dice.randint(3, 8))),
    "phone": _phone,
    "spelled": _spelled,
}
"""Slots that are drawn rather than listed."""
