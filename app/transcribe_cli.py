"""`millstream transcribe`: an SDK client that prints words as they come."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

import millstream
from app.audio_in import file_pieces
from app.live_text import LiveText
from app.rest.audio_file import NotAudio
from millstream.audio import DeviceError, Microphone


async def run(file: Path | None, url: str, *, paced: bool, **options: Any) -> int:
    """Transcribe a file or, if there is none, the microphone; `options` as `millstream.transcribe` takes them.

    Returns the exit code.
    """
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        async with millstream.transcribe(url, **options) as transcription:
            if file is not None:
                await _show(transcription.hear(file_pieces(file, paced=paced)), console)
            else:
                with Microphone() as microphone:
                    await _show(transcription.hear(microphone), console)
    except OSError as error:
        errors.print(Text(f"cannot reach {url}: {error}", "red"))
        return 1
    except (millstream.ServerError, NotAudio, DeviceError, ImportError) as error:
        errors.print(Text(str(error), "red"))
        return 1
    return 0


async def _show(events: AsyncIterator[millstream.Event], console: Console) -> None:
    partial: dict[str, str] = {}
    with LiveText(console) as text:
        async for event in events:
            match event:
                case millstream.Partial(item, delta):
                    partial[item] = partial.get(item, "") + delta
                    text.form(item, partial[item])
                case millstream.Final(item, transcript, _):
                    partial.pop(item, None)
                    text.settle(item, transcript)
                case millstream.TranscriptFailed(item, code, message):
                    text.settle(item, f"not transcribed: {message} ({code})")
                case millstream.Reconnected(lost_s):
                    text.settle("connection", f"connected again, {lost_s:.1f} s of audio are lost")
