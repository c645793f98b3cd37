"""`millstream talk`: a spoken conversation with the server, by a file or the microphone."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

import millstream
from app.audio_in import PIECE_BYTES, PIECE_S, file_pieces
from app.audio_out import WavFile
from app.live_text import LiveText
from app.rest.audio_file import NotAudio
from app.talk_turns import Turns
from millstream.audio import DeviceError, Microphone, Speaker
from millstream.playback import Playback

SILENCE_MS = 500
"""The pause that ends a turn."""
DEFAULT_OUTPUT = Path("reply.wav")
HEADPHONES = (
    "Wear headphones: over loudspeakers the reply is heard as your voice and interrupts itself. "
    "Without headphones use --push-to-talk. Ctrl-C ends."
)
PUSH_TO_TALK = "Press Enter to talk and Enter again to be answered. Ctrl-C ends."


SETTLE_S = 1.5
"""After the end of a file so much more silence is sent, or there might be speech that the server has yet to notice."""
UNHEARD_S = 4.0
"""A file of which nothing was heard for so long after its end has no speech."""
REPLY_TIMEOUT_S = 60.0
"""A reply in which nothing happens for so long is given up."""
MIN_TURN_PIECES = 2
"""The server takes no shorter turns."""


class NoReply(Exception):
    """The conversation did not come about."""


@dataclass(frozen=True)
class Call:
    """What to talk with: a file or, if there is none, the microphone; and to whom."""

    file: Path | None
    url: str
    options: dict[str, Any]
    """Of `millstream.converse`."""
    push_to_talk: bool = False


async def run(call: Call, output: Path | None) -> int:
    """Talk; the reply is played or, with `output` or without a loudspeaker, written. Returns the exit code."""
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    exit_code = 0
    try:
        playback = _playback(call, output, errors)
        try:
            await _talk(call, playback, console, errors)
        finally:
            playback.close()
    except* OSError as group:
        errors.print(Text(f"cannot reach {call.url}: {group.exceptions[0]}", "red"))
        exit_code = 1
    except* (millstream.ServerError, NotAudio, DeviceError, ImportError, NoReply) as group:
        errors.print(Text(str(group.exceptions[0]), "red"))
        exit_code = 1
    return exit_code


def _playback(call: Call, output: Path | None, errors: Console) -> Playback:
    if output is not None:
        return _wav(output)
    try:
        return Speaker()
    except (DeviceError, ImportError) as error:
        if call.file is None:
            raise
        errors.print(f"{error}; the reply is written to {DEFAULT_OUTPUT}")
        return _wav(DEFAULT_OUTPUT)


def _wav(path: Path) -> WavFile:
    try:
        return WavFile(path)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}") from error


async def _talk(call: Call, playback: Playback, console: Console, errors: Console) -> None:
    turn_detection = {"type": "server_vad", "silence_duration_ms": SILENCE_MS}
    async with (
        millstream.converse(
            call.url, turn_detection=None if call.push_to_talk else turn_detection, **call.options
        ) as conversation,
        asyncio.TaskGroup() as tasks,
    ):
        turns = Turns(SILENCE_MS / 1_000)
        with LiveText(console) as text:
            talk = _Talk(conversation, playback, turns, text)
            listening = tasks.create_task(talk.listen())
            if call.file is not None:
                await talk.send_file(call.file)
            else:
                errors.print(PUSH_TO_TALK if call.push_to_talk else HEADPHONES)
                await (talk.push_to_talk() if call.push_to_talk else talk.send_microphone())
            listening.cancel()


class _Talk:
    """One conversation: what is sent and what is shown."""

    def __init__(self, conversation: millstream.Conversation, playback: Playback, turns: Turns, text: LiveText) -> None:
        self._conversation = conversation
        self._playback = playback
        self._turns = turns
        self._text = text
        self._heard: dict[str, str] = {}
        """The user's words so far, by item."""
        self._told_at = time.monotonic()
        """When the server last said something."""

    async def send_file(self, file: Path) -> None:
        """Send a file in real time, then silence until it has been answered. Raises NoReply, NotAudio."""
        pieces = file_pieces(file, paced=True)
        first = await anext(pieces)
        self._turns.begin(time.monotonic() - PIECE_S)
        await self._conversation.send(first)
        async for piece in pieces:
            await self._conversation.send(piece)
        ended_at = time.monotonic()
        while not self._answered(time.monotonic() - ended_at):
            await self._conversation.send(bytes(PIECE_BYTES))
            await asyncio.sleep(PIECE_S)
        if not self._turns.heard_words:
            raise NoReply(f"{file}: no speech was heard")
        await self._playback.finish()

    def _answered(self, since_end_s: float) -> bool:
        """Whether nothing more will come. Raises NoReply."""
        if not self._turns.heard_speech:
            return since_end_s > UNHEARD_S
        if self._turns.awaiting_reply and time.monotonic() - self._told_at > REPLY_TIMEOUT_S:
            raise NoReply(f"the server has said nothing for {REPLY_TIMEOUT_S:g} s")
        return not self._turns.awaiting_reply and since_end_s > SETTLE_S

    async def send_microphone(self) -> None:
        """Send all that the microphone hears. Raises DeviceError, ImportError."""
        async for piece in self._microphone():
            await self._conversation.send(piece)

    async def push_to_talk(self) -> None:
        """Send what the microphone hears between two strokes of Enter, until there is no more input."""
        strokes = _enter_strokes()
        recorded = 0
        recording = False
        async for piece in self._microphone():
            if not strokes.empty():
                if strokes.get_nowait() is None:
                    return
                recording = not recording
                await (self._interrupt() if recording else self._commit(recorded))
                recorded = 0
            if recording:
                recorded += 1
                await self._conversation.send(piece)

    async def _microphone(self) -> AsyncGenerator[bytes, None]:
        with Microphone() as microphone:
            first = await anext(microphone)
            self._turns.begin(time.monotonic() - PIECE_S)
            yield first
            async for piece in microphone:
                yield piece

    async def _commit(self, recorded: int) -> None:
        if recorded >= MIN_TURN_PIECES:
            self._turns.committed(time.monotonic())
            await self._conversation.commit()

    async def _interrupt(self) -> None:
        await self._stop_playback()
        if self._turns.awaiting_reply:
            await self._conversation.cancel()

    async def listen(self) -> None:
        """Show and play what the server says. Raises ServerError when the connection ends."""
        async for event in self._conversation:
            self._told_at = time.monotonic()
            match event:
                case millstream.SpeechStarted():
                    self._turns.speech_started()
                    await self._stop_playback()
                case millstream.SpeechStopped(_, at):
                    self._turns.speech_stopped(at)
                case millstream.Partial() | millstream.Final() | millstream.TranscriptFailed():
                    self._show_heard(event)
                case millstream.ReplyAudio(item, pcm):
                    self._hear(item, pcm)
                case millstream.ReplyText(_, delta) if delta.strip():
                    self._text.settle("reply", f"< {delta.strip()}")
                case millstream.ReplyDone(_, status, problem):
                    self._finish_reply(status, problem)
                case millstream.Refused(code, message, _):
                    self._text.settle("refused", f"! {message} ({code})")
                case millstream.Reconnected(lost_s):
                    self._text.settle("connection", f"! connected again, {lost_s:.1f} s of audio are lost")

    async def _stop_playback(self) -> None:
        for item, played_s in self._playback.stop():
            await self._conversation.truncate(item, played_s)

    def _hear(self, item: str, pcm: bytes) -> None:
        waited_s = self._turns.reply_heard(time.monotonic())
        if waited_s is not None:
            self._text.settle("latency", f"  ({waited_s:.2f} s from the end of speech to the first audio)")
        self._playback.play(pcm, item)

    def _show_heard(self, event: millstream.Partial | millstream.Final | millstream.TranscriptFailed) -> None:
        match event:
            case millstream.Partial(item, delta):
                self._heard[item] = self._heard.get(item, "") + delta
                self._text.form(item, f"> {self._heard[item]}")
            case millstream.Final(item, transcript, _):
                self._heard.pop(item, None)
                self._turns.transcribed(transcript)
                self._text.settle(item, f"> {transcript}" if transcript else "")
            case millstream.TranscriptFailed(item, code, message):
                self._turns.transcribed("")
                self._text.settle(item, f"! not transcribed: {message} ({code})")

    def _finish_reply(self, status: str, problem: str | None) -> None:
        self._turns.reply_done(status)
        if status != "completed":
            self._text.settle("reply", f"! reply {status}" + (f": {problem}" if problem else ""))


def _enter_strokes() -> asyncio.Queue[str | None]:
    """Lines of the standard input as they are typed, then None. Read on a thread that does not outlive the process."""
    loop = asyncio.get_running_loop()
    strokes: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(strokes.put_nowait, line)
        loop.call_soon_threadsafe(strokes.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return strokes
