"""`millstream say`: text as speech, played or written to a file while it is synthesised."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import httpx
from rich.console import Console
from rich.text import Text

from app.audio_out import wav_writer
from app.rest.audio_encoder import Format
from millstream.audio import DeviceError, Speaker

FORMATS: dict[str, Format] = {**{name: name for name in get_args(Format)}, "ogg": "opus", "raw": "pcm"}
"""Formats by the suffixes of files."""
CONNECT_TIMEOUT_S = 10.0


class SpeechRefused(Exception):
    """The server does not speak this."""


async def run(request: dict[str, Any], url: str, api_key: str | None, output: Path | None, kind: Format) -> int:
    """Speak a request's `input`; play it if there is no `output`. Returns the exit code."""
    try:
        # The length of a WAV file is written into it in the end, so its samples are asked for.
        wanted = "pcm" if output is None or kind == "wav" else kind
        audio = _speech(url, api_key, {**request, "response_format": wanted})
        await (_play(audio) if output is None else _write(audio, output, kind))
    except httpx.ConnectError as error:
        return _complain(f"cannot reach {url}: {error}")
    except httpx.HTTPError as error:
        return _complain(f"the server broke off: {error}")
    except OSError as error:
        return _complain(f"cannot write {output}: {error.strerror}")
    except (DeviceError, ImportError) as error:
        return _complain(f"{error}; or write a file with -o FILE")
    except SpeechRefused as error:
        return _complain(str(error))
    return 0


async def _speech(url: str, api_key: str | None, request: dict[str, Any]) -> AsyncIterator[bytes]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=None)
    async with (
        httpx.AsyncClient(headers=headers, timeout=timeout) as client,
        client.stream("POST", f"{url.rstrip('/')}/v1/audio/speech", json={"model": "tts-1", **request}) as answer,
    ):
        if not answer.is_success:
            raise SpeechRefused(_reason(answer, await answer.aread()))
        async for piece in answer.aiter_bytes():
            yield piece


def _reason(answer: httpx.Response, body: bytes) -> str:
    try:
        return f"the server refused: {json.loads(body)['error']['message']}"
    except (ValueError, LookupError, TypeError):
        return f"what answers is no Millstream server: HTTP {answer.status_code}"


async def _play(audio: AsyncIterator[bytes]) -> None:
    with Speaker() as speaker:
        async for piece in audio:
            speaker.play(piece)
            await speaker.room()
        await speaker.finish()


async def _write(audio: AsyncIterator[bytes], output: Path, kind: Format) -> None:
    """Nothing is written before the server has agreed."""
    first = await anext(audio)
    with _written(output, kind) as write:
        write(first)
        async for piece in audio:
            write(piece)


@contextmanager
def _written(output: Path, kind: Format) -> Iterator[Callable[[bytes], object]]:
    with output.open("wb") as file:
        if kind == "wav":
            with wav_writer(file) as wav:
                yield wav.writeframesraw
        else:
            yield file.write


def _complain(message: str) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(message, "red"))
    return 1
