"""Audio for the file verbs of the command line: a file at the pace of speech, or the microphone."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.rest.audio_file import NotAudio, decode

RATE_HZ = 24_000
PIECE_S = 0.1
PIECE_BYTES = 4_800


class NoMicrophone(Exception):
    """The microphone cannot be used."""


async def file_pieces(file: Path, *, paced: bool) -> AsyncIterator[bytes]:
    """The file's audio as 24 kHz mono int16, each piece at its end in real time if `paced`. Raises NotAudio."""
    pcm = await asyncio.to_thread(_decode, file)
    started = time.monotonic()
    for index, start in enumerate(range(0, len(pcm), PIECE_BYTES)):
        if paced:
            await asyncio.sleep(max(0.0, started + (index + 1) * PIECE_S - time.monotonic()))
        yield pcm[start : start + PIECE_BYTES]


def _decode(file: Path) -> bytes:
    with file.open("rb") as source:
        try:
            return b"".join(decode(source, RATE_HZ))
        except NotAudio as error:
            raise NotAudio(f"{file}: {error}") from error


async def microphone() -> AsyncIterator[bytes]:
    """The default microphone as 24 kHz mono int16, until interrupted. Raises NoMicrophone."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise NoMicrophone(f"the microphone needs PortAudio and 'pip install sounddevice': {error}") from error
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    def captured(data: object, frames: int, when: object, status: object) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, bytes(data))  # type: ignore[call-overload]

    try:
        stream = sounddevice.RawInputStream(
            RATE_HZ, int(RATE_HZ * PIECE_S), dtype="int16", channels=1, callback=captured
        )
    except sounddevice.PortAudioError as error:
        raise NoMicrophone(f"cannot open the microphone: {error}") from error
    with stream:
        while True:
            yield await pieces.get()
