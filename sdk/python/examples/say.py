"""Speech of the text that comes in, while it comes in; played, or written to a WAV file:

    pip install 'millstream[audio]'
    some-language-model | python say.py [FILE.wav]

MILLSTREAM_URL names the server, http://127.0.0.1:8000 if not set.
"""

import asyncio
import os
import sys
import wave

import millstream
from millstream.audio import Speaker

URL = os.environ.get("MILLSTREAM_URL", "http://127.0.0.1:8000")


async def main() -> None:
    async with millstream.speak(url=URL) as speech, asyncio.TaskGroup() as tasks:
        tasks.create_task(read(speech))
        await (write(speech, sys.argv[1]) if len(sys.argv) > 1 else play(speech))


async def read(speech: millstream.Speech) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        await speech.send(line)
    await speech.finish()


async def play(speech: millstream.Speech) -> None:
    with Speaker() as speaker:
        async for pcm in speech:
            speaker.play(pcm)
            await speaker.room()
        await speaker.finish()


async def write(speech: millstream.Speech, path: str) -> None:
    with wave.open(path, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        async for pcm in speech:
            wav.writeframes(pcm)


asyncio.run(main())
