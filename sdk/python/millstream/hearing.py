"""How speech is to be heard: `session.audio.input.transcription` of the protocol."""

from collections.abc import Sequence
from typing import Any

DELAYS = {0: "minimal", 80: "low", 480: "medium", 1040: "high"}
"""The protocol's names of look-aheads in milliseconds."""


def hearing(language: str | None, lookahead_ms: int | None, phrases: Sequence[str]) -> dict[str, Any]:
    """The protocol's object, without what is not given. Raises ValueError for an unknown look-ahead."""
    options = {
        "language": language,
        "keywords": list(phrases),
        "delay": None if lookahead_ms is None else _delay(lookahead_ms),
    }
    return {name: value for name, value in options.items() if value not in (None, [])}


def _delay(lookahead_ms: int) -> str:
    if lookahead_ms not in DELAYS:
        raise ValueError(f"lookahead_ms must be one of {', '.join(map(str, DELAYS))}; got {lookahead_ms}")
    return DELAYS[lookahead_ms]
