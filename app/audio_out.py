"""Where the command line's speech goes: to the loudspeaker or into a WAV file."""

import asyncio
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from app.audio_in import RATE_HZ

BYTES_PER_S = RATE_HZ * 2
AHEAD_S = 5.0


class NoLoudspeaker(Exception):
    """The loudspeaker cannot be used."""


class Sink(Protocol):
    """Takes 24 kHz mono int16 audio faster than it plays."""

    def play(self, pcm: bytes) -> None:
        """Add audio."""

    def take_back(self, size: int) -> None:
        """The last `size` bytes shall not be played."""

    async def finish(self) -> None:
        """Wait until all is played."""

    def close(self) -> None:
        """Stop at once."""


class Loudspeaker:
    """The default output device. Raises NoLoudspeaker."""

    def __init__(self) -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            raise NoLoudspeaker(f"playing needs PortAudio and 'pip install sounddevice': {error}") from error
        self._waiting = bytearray()
        self._lock = threading.Lock()
        try:
            self._stream = sounddevice.RawOutputStream(RATE_HZ, dtype="int16", channels=1, callback=self._fill)
        except sounddevice.PortAudioError as error:
            raise NoLoudspeaker(f"cannot open the loudspeaker: {error}") from error
        self._stream.start()

    def play(self, pcm: bytes) -> None:
        with self._lock:
            self._waiting += pcm

    def take_back(self, size: int) -> None:
        with self._lock:
            del self._waiting[max(0, len(self._waiting) - size) :]

    async def room(self) -> None:
        """Wait until no more than a few seconds are still to be played."""
        await asyncio.sleep(max(0.0, len(self._waiting) / BYTES_PER_S - AHEAD_S))

    async def finish(self) -> None:
        await asyncio.sleep(len(self._waiting) / BYTES_PER_S + self._stream.latency)

    def close(self) -> None:
        self._stream.close(ignore_errors=True)

    def _fill(self, output: memoryview, frames: int, when: object, status: object) -> None:
        """Called on a thread of the device for its next samples."""
        with self._lock:
            size = min(len(output), len(self._waiting) // 2 * 2)
            pcm = bytes(self._waiting[:size])
            del self._waiting[:size]
        output[:] = pcm.ljust(len(output), b"\0")


class WavFile:
    """A file of what would have been played; written when it is closed, unless that is nothing."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be written."""
        self._path = path
        self._pcm = bytearray()
        path.open("ab").close()

    def play(self, pcm: bytes) -> None:
        self._pcm += pcm

    def take_back(self, size: int) -> None:
        del self._pcm[max(0, len(self._pcm) - size) :]

    async def finish(self) -> None:
        pass

    def close(self) -> None:
        if self._pcm:
            with self._path.open("wb") as file, wav_writer(file) as written:
                written.writeframes(self._pcm)
        elif not self._path.stat().st_size:
            self._path.unlink()


@contextmanager
def wav_writer(file: BinaryIO) -> Iterator[wave.Wave_write]:
    """Write a WAV file of 24 kHz mono int16 audio."""
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        yield written


class Cut(NamedTuple):
    """An item of which only the first `played_s` seconds were played."""

    item: str
    played_s: float


class Playback:
    """Plays the items of a conversation one after the other, and knows how far it is.

    It goes by the clock: a device plays in real time, and so does whoever would listen to a file.
    """

    def __init__(self, sink: Sink, clock: Callable[[], float] = time.monotonic) -> None:
        self.sink = sink
        self._clock = clock
        self._items: dict[str, int] = {}
        """Bytes of each item that may not be over, in order."""
        self._ends_at = 0.0
        self._stopped: set[str] = set()

    def play(self, item: str, pcm: bytes) -> None:
        """Add audio. What comes late of an item that was stopped is dropped."""
        if item in self._stopped:
            return
        now = self._clock()
        if now >= self._ends_at:
            self._items = {item: self._items.get(item, 0)}
        self._items[item] = self._items.get(item, 0) + len(pcm)
        self._ends_at = max(now, self._ends_at) + len(pcm) / BYTES_PER_S
        self.sink.play(pcm)

    def stop(self) -> list[Cut]:
        """Stop now; returns the items that were not played to their end."""
        unplayed = round(max(0.0, self._ends_at - self._clock()) * RATE_HZ) * 2
        self.sink.take_back(unplayed)
        self._ends_at = 0.0
        cuts = []
        for item, size in reversed(self._items.items()):
            lost = min(size, unplayed)
            unplayed -= lost
            if lost:
                cuts.append(Cut(item, (size - lost) / BYTES_PER_S))
        self._stopped.update(self._items)
        self._items = {}
        return cuts[::-1]
