"""`POST /v1/audio/speech`: text as an audio file that is sent while it is synthesised."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from app.errors import ApiError
from app.gateway import Gateway, gateway_of
from app.rest.audio_encoder import MEDIA_TYPES, Format, encoder
from app.rest.background import (
    BACKGROUND_SLACK_S,
    StreamedResponse,
    background_work,
    begun,
    sse_data,
    sse_error,
    unless_gone,
)
from app.rest.json_body import read_json
from models.tts.voices import UnknownVoice, resolve
from workers.broker.client import Stream

OPENAI_SPEAKERS = frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"})
"""Names that stock clients ask for; this server's own synthesiser answers to all of them."""
TEXT_CHARS = 200
"""Text goes to the worker in pieces of so many characters."""
AHEAD_CHARS = 5_000
"""Text that the worker may have before it has said it: above what it holds back for lack of anything to say in it."""
AUDIO_BYTES = 24_000
"""Audio is encoded and sent in pieces of at most half a second."""


class VoiceId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A voice as OpenAI's API names custom ones."""

    id: str


class SpeechRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body. `instructions` are accepted for the sake of stock clients and have no effect."""

    model: str
    input: Annotated[str, Meta(min_length=1)]
    voice: str | VoiceId = "alloy"
    instructions: Annotated[str, Meta(max_length=4_096)] | None = None
    response_format: Format = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


async def speech(request: Request) -> Response:
    """Speak the input."""
    gateway = gateway_of(request)
    wanted = await read_json(request, SpeechRequest)
    options = _options(wanted, gateway)
    return await unless_gone(request, _answer(gateway, wanted, options))


def _options(wanted: SpeechRequest, gateway: Gateway) -> dict[str, Any]:
    """Options of the stream. Raises ApiError on what the body's types cannot tell."""
    settings = gateway.settings
    if wanted.model not in OPENAI_SPEAKERS | {settings.speaker}:
        raise ApiError(404, "model_not_found", f"model: there is no model {wanted.model!r}", "model")
    if len(wanted.input) > settings.max_speech_chars:
        message = f"input: at most {settings.max_speech_chars} characters are spoken, got {len(wanted.input)}"
        raise ApiError(400, "input_too_long", message, "input")
    name = wanted.voice if isinstance(wanted.voice, str) else wanted.voice.id
    try:
        return {"voice": resolve(name).name, "speed": wanted.speed}
    except UnknownVoice as error:
        raise ApiError(400, "invalid_value", f"voice: {error}", "voice") from None


async def _answer(gateway: Gateway, wanted: SpeechRequest, options: dict[str, Any]) -> Response:
    patience_s = gateway.settings.send_timeout_s
    audio = await begun(_encoded(_spoken(gateway, wanted.input, options), wanted.response_format))
    if wanted.stream_format == "sse":
        return StreamedResponse(_server_sent(audio), "text/event-stream", patience_s)
    return StreamedResponse(audio, MEDIA_TYPES[wanted.response_format], patience_s)


async def _spoken(gateway: Gateway, text: str, options: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    """24 kHz mono int16 PCM, made no faster than it is taken. Raises ApiError, also if nothing can be spoken."""
    async with background_work(gateway, "speak", options) as work:
        pushed = said = 0
        while True:
            while pushed < len(text) and pushed - said < AHEAD_CHARS:
                pushed = await _push(work.stream, text, pushed)
            output = await work.output()
            if output.kind == "done":
                break
            said += len(output.meta["text"])
            for start in range(0, len(output.data), AUDIO_BYTES):
                yield output.data[start : start + AUDIO_BYTES]
        if output.pts == 0:
            raise ApiError(400, "nothing_to_speak", "input: nothing in it can be spoken", "input")


async def _push(stream: Stream, text: str, start: int) -> int:
    """Push the piece of the text that begins at `start`; returns where it ends."""
    piece = text[start : start + TEXT_CHARS]
    stream.push("text", data=piece.encode(), slack_s=BACKGROUND_SLACK_S)
    await stream.writable()
    if start + len(piece) == len(text):
        stream.push("flush")
    return start + len(piece)


async def _encoded(pcm: AsyncGenerator[bytes, None], kind: Format) -> AsyncGenerator[bytes, None]:
    encoding = encoder(kind)
    async with aclosing(pcm):
        async for piece in pcm:
            data = await asyncio.to_thread(encoding.encode, piece)
            if data:
                yield data
    rest = await asyncio.to_thread(encoding.finish)
    if rest:
        yield rest


async def _server_sent(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(audio):
            async for data in audio:
                yield sse_data({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        yield sse_data({"type": "speech.audio.done", "usage": None})
    except ApiError as error:
        yield sse_error(error)
