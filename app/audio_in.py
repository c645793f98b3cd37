"""Audio files for the verbs of the command line, at the pace of speech."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.rest.audio_file import NotAudio, decode

RATE_HZ = 24_000
PIECE_S = 0.1
PIECE_BYTES = 4_800


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
