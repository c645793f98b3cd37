"""`millstream transcribe`: an SDK client that prints words as they come."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

import millstream
from app.rest.audio_file import NotAudio, decode

RATE_HZ = 24_000
PIECE_S = 0.1
PIECE_BYTES = 4_800


class NoMicrophone(Exception):
    """The microphone cannot be used."""


async def run(file: Path | None, url: str, api_key: str | None, language: str | None, *, paced: bool) -> int:
    """Transcribe a file or, if there is none, the microphone. Returns the exit code."""
    exit_code = 0
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        async with (
            millstream.transcribe(url, api_key=api_key, language=language) as transcription,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(_send(transcription, _pieces(file, paced) if file else _microphone()))
            tasks.create_task(_show(transcription, console))
    except* OSError as group:
        errors.print(Text(f"cannot reach {url}: {group.exceptions[0]}", "red"))
        exit_code = 1
    except* (millstream.ServerError, NotAudio, NoMicrophone) as group:
        errors.print(Text(str(group.exceptions[0]), "red"))
        exit_code = 1
    return exit_code


async def _send(transcription: millstream.Transcription, audio: AsyncIterator[bytes]) -> None:
    async for piece in audio:
        await transcription.send(piece)
    await transcription.finish()


async def _pieces(file: Path, paced: bool) -> AsyncIterator[bytes]:
    """The file's audio as 24 kHz mono int16, in real time if `paced`."""
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


async def _microphone() -> AsyncIterator[bytes]:
    """The default microphone, until interrupted. Raises NoMicrophone."""
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


async def _show(transcription: millstream.Transcription, console: Console) -> None:
    """Print text as it forms: in place on a terminal, else a line for every change, with the time since the start."""
    started = time.monotonic()
    partial: dict[str, str] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        async for event in transcription:
            clock = f"{time.monotonic() - started:6.1f} s  "
            match event:
                case millstream.Partial(item, delta):
                    partial[item] = partial.get(item, "") + delta
                    if console.is_terminal:
                        live.update(Text(clock + partial[item] + " …", style="dim"), refresh=True)
                    else:
                        console.print(f"{clock}{partial[item]} …", markup=False)
                case millstream.Final(item, text, _):
                    partial.pop(item, None)
                    live.update(Text(""))
                    if text:
                        console.print(f"{clock}{text}", markup=False)
                case millstream.TranscriptFailed(_, code, message):
                    console.print(f"{clock}not transcribed: {message} ({code})", markup=False)
