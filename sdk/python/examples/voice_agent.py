"""A voice agent with a tool. Ask it for the time, by microphone (wear headphones), or by a WAV file (24 kHz, mono):

    pip install 'millstream[audio]'
    python voice_agent.py [QUESTION.wav REPLY.wav]

MILLSTREAM_URL names the server, http://127.0.0.1:8000 if not set.
"""

import asyncio
import os
import sys
import wave
from collections.abc import Iterator
from datetime import datetime

import millstream
from millstream.audio import Microphone, Speaker, wav_pieces

URL = os.environ.get("MILLSTREAM_URL", "http://127.0.0.1:8000")
INSTRUCTIONS = "You are a helpful clock. You are spoken with: answer in one short sentence."


def get_time() -> str:
    """Tell the time of day. Call it whenever the user asks for the time."""
    return f"It is {datetime.now():%H:%M}."


async def talk() -> None:
    """By microphone, until Ctrl-C."""
    with Microphone() as microphone, Speaker() as speaker:
        async with millstream.converse(URL, instructions=INSTRUCTIONS, tools=[get_time]) as conversation:
            async for event in conversation.hear(microphone):
                match event:
                    case millstream.SpeechStarted():
                        for item, played_s in speaker.stop():
                            await conversation.truncate(item, played_s)
                    case millstream.ReplyAudio(item, pcm):
                        speaker.play(pcm, item)
                show(event)


async def ask(question: str, reply: str) -> None:
    """By a file, for one answer."""
    with wave.open(reply, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        async with millstream.converse(URL, instructions=INSTRUCTIONS, tools=[get_time]) as conversation:
            async for event in conversation.hear(then_silence(question)):
                if isinstance(event, millstream.ReplyAudio):
                    wav.writeframes(event.pcm)
                show(event)
                if isinstance(event, millstream.ReplyDone) and wav.tell():
                    break


def then_silence(path: str) -> Iterator[bytes]:
    """The question, and a second in which nothing is said, which ends the turn."""
    yield from wav_pieces(path)
    yield bytes(48_000)


def show(event: millstream.ConversationEvent) -> None:
    match event:
        case millstream.Final(_, text):
            print(f"> {text}", flush=True)
        case millstream.ToolCall(_, name, arguments):
            print(f"  {name}({arguments})", flush=True)
        case millstream.ReplyText(_, delta):
            print(f"< {delta.strip()}", flush=True)
        case millstream.ReplyDone(_, status, problem) if status != "completed":
            print(f"  ({status}: {problem})", flush=True)


asyncio.run(ask(*sys.argv[1:]) if len(sys.argv) > 1 else talk())
