"""`python -m benchmarks.voice [--quick]`: print every figure of a spoken session, on a real server."""

import asyncio
import tempfile
from pathlib import Path

from benchmarks.report import arguments, configuration
from benchmarks.voice import conversation, interruption, readback, speaker, transcription
from tests.server import running_server


async def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    configuration(piece_ms=speaker.PIECE_S * 1e3, silence_duration_ms=speaker.SILENCE_MS, client="openai")
    with tempfile.TemporaryDirectory() as directory, running_server(Path(directory)) as server:
        for part in (transcription, conversation, interruption, readback):
            await part.measure(server, quick=quick)


if __name__ == "__main__":
    asyncio.run(main())
