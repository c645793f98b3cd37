"""What a transcription tells its user."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SpeechStarted:
    """Someone began to speak, `at` seconds of audio after the start."""

    item: str
    at: float


@dataclass(frozen=True)
class SpeechStopped:
    """The turn ended, `at` seconds of audio after the start."""

    item: str
    at: float


@dataclass(frozen=True)
class Partial:
    """Text to append to the item's transcript so far."""

    item: str
    delta: str


@dataclass(frozen=True)
class Final:
    """The item's transcript; where it differs from the partial text, it is right. `seconds` is the audio's length."""

    item: str
    text: str
    seconds: float


@dataclass(frozen=True)
class TranscriptFailed:
    """The item has no transcript."""

    item: str
    code: str
    message: str


Event = SpeechStarted | SpeechStopped | Partial | Final | TranscriptFailed
