"""What the transcription pipeline is told and what it remembers."""

from typing import Literal

import msgspec

from pipelines.transcript import Item
from pipelines.turns import Detection, ServerVad, TurnState


class TranscribeConfig(msgspec.Struct, frozen=True):
    """How to listen. `detection` None leaves turns to the client; `transcribe` False only finds turns."""

    detection: Detection | None = ServerVad()
    transcribe: bool = True
    language: str | None = None
    prompt: str | None = None
    phrases: list[str] = []
    """Words that are likely to be said."""
    lookahead_ms: int | None = None
    """How far a streaming recogniser looks ahead before it writes a word; None leaves that to the worker."""
    words: bool = False
    partial_slack_s: float = 1.0
    final_slack_s: float = 0.2


class Marker(msgspec.Struct, frozen=True):
    """Something that the client asked for at a media position."""

    pts: int
    action: Literal["commit", "clear", "configure"]
    reference: str | None = None
    config: TranscribeConfig | None = None


class TranscribeState(msgspec.Struct):
    """All that the pipeline remembers; positions in samples of the current stream."""

    config: TranscribeConfig
    turn: TurnState = msgspec.field(default_factory=TurnState)
    base: int = 0
    """Session position at which the current stream began."""
    received: int = 0
    analysed: int = 0
    floor: int = 0
    """Audio before this belongs to earlier items or was cleared."""
    released: int = 0
    items: list[Item] = []
    """Items that are not settled; only the last may be open."""
    frames: list[tuple[int, float]] = []
    """End and speech probability of the latest frames, enough to find a cut."""
    markers: list[Marker] = []
    segments: int = 0
    failures: int = 0
