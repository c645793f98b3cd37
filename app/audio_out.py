"""Speech that is written into a WAV file instead of being played."""

import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.audio_in import RATE_HZ
from millstream.playback import Playback


class WavFile(Playback):
    """A file of what would have been played; written when it is closed, unless that is nothing."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError if the file cannot be written."""
        super().__init__(clock)
        self._path = path
        self._pcm = bytearray()
        path.open("ab").close()

    async def finish(self) -> None:
        """Nobody listens to it now."""

    def close(self) -> None:
        if self._pcm:
            with self._path.open("wb") as file, wav_writer(file) as written:
                written.writeframes(self._pcm)
        elif not self._path.stat().st_size:
            self._path.unlink()

    def _add(self, pcm: bytes) -> None:
        self._pcm += pcm

    def _take_back(self, size: int) -> None:
        del self._pcm[max(0, len(self._pcm) - size) :]


@contextmanager
def wav_writer(file: BinaryIO) -> Iterator[wave.Wave_write]:
    """Write a WAV file of 24 kHz mono int16 audio."""
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        yield written
