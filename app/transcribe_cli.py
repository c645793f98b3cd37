"""`millstream transcribe`: an SDK client that prints words as they come."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

import millstream
from app.audio_in import NoMicrophone, file_pieces, microphone
from app.live_text import LiveText
from app.rest.audio_file import NotAudio


async def run(file: Path | None, url: str, *, paced: bool, **options: Any) -> int:
    """Transcribe a file or, if there is none, the microphone; `options` as `millstream.transcribe` takes them.

    Returns the exit code.
    """
    exit_code = 0
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        async with (
            millstream.transcribe(url, **options) as transcription,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(_send(transcription, file_pieces(file, paced=paced) if file else microphone()))
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


async def _show(transcription: millstream.Transcription, console: Console) -> None:
    partial: dict[str, str] = {}
    with LiveText(console) as text:
        async for event in transcription:
            match event:
                case millstream.Partial(item, delta):
                    partial[item] = partial.get(item, "") + delta
                    text.form(item, partial[item])
                case millstream.Final(item, transcript, _):
                    partial.pop(item, None)
                    text.settle(item, transcript)
                case millstream.TranscriptFailed(item, code, message):
                    text.settle(item, f"not transcribed: {message} ({code})")
