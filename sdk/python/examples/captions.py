"""Captions of what the microphone hears, or of a WAV file (24 kHz, mono):

    pip install 'millstream[audio]'
    python captions.py [FILE.wav]

MILLSTREAM_URL names the server, http://127.0.0.1:8000 if not set.
"""

import asyncio
import os
import sys

import millstream
from millstream import Source
from millstream.audio import Microphone, wav_pieces

URL = os.environ.get("MILLSTREAM_URL", "http://127.0.0.1:8000")


async def main() -> None:
    if len(sys.argv) > 1:
        await caption(wav_pieces(sys.argv[1]))
    else:
        with Microphone() as microphone:
            await caption(microphone)


async def caption(audio: Source[bytes]) -> None:
    async with millstream.transcribe(URL) as transcription:
        async for event in transcription.hear(audio):
            match event:
                case millstream.Partial(_, delta):
                    print(delta, end="", file=sys.stderr, flush=True)
                case millstream.Final(_, text, seconds) if text:
                    print(f"\r{text}  ({seconds:.1f} s)", flush=True)
                case millstream.Reconnected(lost_s):
                    print(f"\r(connected again; {lost_s:.1f} s were lost)", flush=True)


asyncio.run(main())
