"""Playback that the server owns, as over WebRTC: what is still to be heard, and how much was. Sans-I/O."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.speak import SAMPLE_BYTES, SAMPLE_RATE_HZ

FRAME_S = 0.02
FRAME_BYTES = int(SAMPLE_RATE_HZ * FRAME_S) * SAMPLE_BYTES
_BYTES_PER_MS = SAMPLE_RATE_HZ * SAMPLE_BYTES // 1_000


class Cut(NamedTuple):
    """An item of which only the first `played_ms` were played."""

    item: str
    played_ms: int


class Frame(NamedTuple):
    """20 ms of 24 kHz mono int16 audio, None where there is nothing to play; replies that began or ended with it."""

    pcm: bytes | None
    started: str | None = None
    stopped: str | None = None


@dataclass
class _Voice:
    """A reply's audio. `pcm` is what was not played yet, in order, by item."""

    pcm: dict[str, bytearray] = field(default_factory=dict)
    played: dict[str, int] = field(default_factory=dict)
    started: bool = False
    ended: bool = False

    @property
    def waiting(self) -> int:
        return sum(map(len, self.pcm.values()))

    def take(self, size: int) -> bytes:
        taken = bytearray()
        for item, pcm in self.pcm.items():
            piece = pcm[: size - len(taken)]
            del pcm[: len(piece)]
            self.played[item] = self.played.get(item, 0) + len(piece)
            taken += piece
        return bytes(taken)

    def cuts(self) -> list[Cut]:
        unfinished = None if self.ended else next(reversed(self.pcm))
        return [
            Cut(item, self.played.get(item, 0) // _BYTES_PER_MS)
            for item, pcm in self.pcm.items()
            if pcm or item == unfinished
        ]


class Playout:
    """Replies one after the other."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}
        self._unwanted: set[str] = set()
        """Replies that were cleared and have not ended."""

    def add(self, reply: str, item: str, pcm: bytes) -> None:
        """Append 24 kHz mono int16 audio. What comes of a reply after it was cleared is not played."""
        if reply not in self._unwanted:
            self._voices.setdefault(reply, _Voice()).pcm.setdefault(item, bytearray()).extend(pcm)

    def end(self, reply: str) -> None:
        """Nothing more comes of a reply."""
        self._unwanted.discard(reply)
        if reply in self._voices:
            self._voices[reply].ended = True

    def frame(self) -> Frame:
        """The next 20 ms. What is less than that waits for more, or for the reply's end."""
        for reply, voice in self._voices.items():
            if voice.ended and not voice.waiting:
                del self._voices[reply]
                return Frame(None, stopped=reply if voice.started else None)
            if voice.waiting < FRAME_BYTES and not voice.ended:
                return Frame(None)
            started = None if voice.started else reply
            voice.started = True
            return Frame(voice.take(FRAME_BYTES).ljust(FRAME_BYTES, b"\0"), started)
        return Frame(None)

    def clear(self) -> tuple[list[str], list[Cut]]:
        """Play nothing of what is left. Returns the replies that could be heard, and the items that were cut short."""
        voices, self._voices = self._voices, {}
        self._unwanted |= {reply for reply, voice in voices.items() if not voice.ended}
        heard = [reply for reply, voice in voices.items() if voice.started]
        return heard, [cut for voice in voices.values() for cut in voice.cuts()]
