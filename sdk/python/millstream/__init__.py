"""Client of a Millstream server.

async with millstream.transcribe("http://127.0.0.1:8000") as transcription:
    await transcription.send(pcm)        # 24 kHz mono int16
    await transcription.finish()
    async for event in transcription:
        print(event)

async with millstream.converse("http://127.0.0.1:8000", voice="marin") as conversation:
    await conversation.send(pcm)
    async for event in conversation:
        print(event)

async with millstream.restyle("watercolour", "http://127.0.0.1:8000") as restyling:
    await restyling.send(jpeg, pts)
    async for event in restyling:
        print(event)
"""

from millstream.connection import ServerError
from millstream.conversation import SERVER_VAD, Conversation, converse
from millstream.events import (
    ConversationEvent,
    Event,
    Final,
    Held,
    Partial,
    Refused,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Restyled,
    RestylingEvent,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    Unchanged,
    Unreadable,
)
from millstream.restyling import Restyling, restyle
from millstream.transcription import Transcription, transcribe

__all__ = [
    "SERVER_VAD",
    "Conversation",
    "ConversationEvent",
    "Event",
    "Final",
    "Held",
    "Partial",
    "Refused",
    "ReplyAudio",
    "ReplyDone",
    "ReplyStarted",
    "ReplyText",
    "Restyled",
    "Restyling",
    "RestylingEvent",
    "ServerError",
    "SpeechStarted",
    "SpeechStopped",
    "TranscriptFailed",
    "Transcription",
    "Unchanged",
    "Unreadable",
    "converse",
    "restyle",
    "transcribe",
]
