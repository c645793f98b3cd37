"""Client of a Millstream server.

async with millstream.transcribe("http://127.0.0.1:8000") as transcription:
    async for event in transcription.hear(audio):     # pieces of 24 kHz mono int16
        print(event)

async with millstream.speak("Hello.", "http://127.0.0.1:8000") as speech:
    async for pcm in speech:
        play(pcm)

async with millstream.converse("http://127.0.0.1:8000", tools=[get_weather]) as conversation:
    async for event in conversation.hear(audio):
        print(event)

async with millstream.restyle("watercolour", "http://127.0.0.1:8000") as restyling:
    async for event in restyling.watch(camera):       # (pts, JPEG)
        print(event)

`millstream.sync` has the same without `async`. `millstream.audio` has a microphone and a loudspeaker,
`millstream.camera` a camera; they need `pip install 'millstream[audio]'` and `'millstream[camera]'`.
"""

from millstream.conversation import SERVER_VAD, Conversation, converse
from millstream.errors import ServerError
from millstream.events import (
    Committed,
    ConversationEvent,
    Event,
    Final,
    Forgotten,
    Held,
    Partial,
    Reconnected,
    Refused,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Restyled,
    RestylingEvent,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolResult,
    TranscriptFailed,
    Unchanged,
    Unreadable,
    Usage,
)
from millstream.flow import Source
from millstream.reconnection import Reconnect
from millstream.restyling import Restyling, restyle
from millstream.speech import Speech, speak
from millstream.tools import Tool
from millstream.transcription import Transcription, transcribe

__all__ = [
    "SERVER_VAD",
    "Committed",
    "Conversation",
    "ConversationEvent",
    "Event",
    "Final",
    "Forgotten",
    "Held",
    "Partial",
    "Reconnect",
    "Reconnected",
    "Refused",
    "ReplyAudio",
    "ReplyDone",
    "ReplyStarted",
    "ReplyText",
    "Restyled",
    "Restyling",
    "RestylingEvent",
    "ServerError",
    "Source",
    "Speech",
    "SpeechStarted",
    "SpeechStopped",
    "Tool",
    "ToolCall",
    "ToolResult",
    "TranscriptFailed",
    "Transcription",
    "Unchanged",
    "Unreadable",
    "Usage",
    "converse",
    "restyle",
    "speak",
    "transcribe",
]
