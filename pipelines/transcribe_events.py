"""What the transcription pipeline tells its owner."""

import msgspec

from pipelines.effects import OpenStream, Push
from pipelines.transcript import Final


class SpeechStarted(msgspec.Struct, frozen=True, tag=True):
    """Speech began; `pts` includes the prefix padding."""

    item: str
    pts: int


class SpeechStopped(msgspec.Struct, frozen=True, tag=True):
    """The turn ended; `pts` includes the silence that ended it."""

    item: str
    pts: int


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The item's audio is complete."""

    item: str


class CommitRefused(msgspec.Struct, frozen=True, tag=True):
    """There was too little audio to commit. `reference` is what the caller gave to `commit`."""

    reference: str | None
    buffered_ms: int


class Cleared(msgspec.Struct, frozen=True, tag=True):
    """The buffer was emptied. `item`, which was open, will not be heard of again."""

    item: str | None = None


class Delta(msgspec.Struct, frozen=True, tag=True):
    """Text to append to the item's transcript."""

    item: str
    text: str


class Likely(msgspec.Struct, frozen=True, tag=True):
    """The speaker pauses: if the item ends here, `text` is its final transcript."""

    item: str
    text: str


class Unlikely(msgspec.Struct, frozen=True, tag=True):
    """The item goes on after all."""

    item: str


class Completed(msgspec.Struct, frozen=True, tag=True):
    """The item's final transcript, one `Final` for each segment that has text; times count from the session's start.

    Not `transcribed`: no transcript was wanted when the item was closed.
    """

    item: str
    text: str
    seconds: float
    segments: list[tuple[float, float, Final]]
    transcribed: bool = True


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The item's audio could not be transcribed."""

    item: str
    code: str
    message: str


class GaveUp(msgspec.Struct, frozen=True, tag=True):
    """The pipeline cannot go on."""

    code: str
    message: str


Event = (
    SpeechStarted
    | SpeechStopped
    | Committed
    | CommitRefused
    | Cleared
    | Delta
    | Likely
    | Unlikely
    | Completed
    | Failed
    | GaveUp
)
Effect = OpenStream | Push | Event
