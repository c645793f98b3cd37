"""Client of a Millstream server.

async with millstream.transcribe("http://127.0.0.1:8000") as transcription:
    await transcription.send(pcm)        # 24 kHz mono int16
    await transcription.finish()
    async for event in transcription:
        print(event)
"""

from millstream.events import Event, Final, Partial, SpeechStarted, SpeechStopped, TranscriptFailed
from millstream.transcription import ServerError, Transcription, transcribe

__all__ = [
    "Event",
    "Final",
    "Partial",
    "ServerError",
    "SpeechStarted",
    "SpeechStopped",
    "TranscriptFailed",
    "Transcription",
    "transcribe",
]
