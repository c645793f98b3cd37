"""`POST /v1/audio/transcriptions`: a file through the pipeline of live audio, in a lower scheduling class."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from app.errors import ApiError
from app.gateway import Gateway, TooManySessions, gateway_of
from app.realtime.config import OPENAI_TRANSCRIBERS
from app.rest.audio_file import NotAudio, decode
from app.rest.file_session import Event, Finished, TranscriptionFailed, transcribe_file
from app.rest.subtitles import Cue, srt, vtt
from pipelines.languages import LANGUAGES, unknown_language
from pipelines.transcribe import Completed, Delta, TranscribeConfig
from workers.broker.client import ServerFull

BACKGROUND_SLACK_S = 20.0
"""How much longer than live work a file's work can wait for a step."""
FORM_OVERHEAD_BYTES = 64 * 1024


class TranscriptionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form's fields but the file."""

    model: str
    language: Annotated[str, Meta(max_length=16)] | None = None
    prompt: Annotated[str, Meta(max_length=4_096)] | None = None
    keywords: list[str] = []
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = ("segment",)
    stream: bool = False
    include: list[Literal["logprobs"]] = []
    temperature: Annotated[float, Meta(ge=0, le=1)] = 0.0
    chunking_strategy: Any = None

    def config(self) -> TranscribeConfig:
        """How the pipeline should listen."""
        return TranscribeConfig(
            detection=None,
            language=self.language,
            prompt=" ".join(part for part in (self.prompt or "", ", ".join(self.keywords)) if part) or None,
            words="word" in self.timestamp_granularities,
            partial_slack_s=BACKGROUND_SLACK_S,
            final_slack_s=BACKGROUND_SLACK_S,
        )


async def transcriptions(request: Request) -> Response:
    """Transcribe the uploaded file."""
    gateway = gateway_of(request)
    _check_length(request, gateway.settings.max_upload_bytes)
    async with request.form(max_part_size=gateway.settings.max_upload_bytes) as form:
        wanted = _parse(form, gateway.settings.transcriber)
        data = await _file(form).read()
    await asyncio.to_thread(_check_audio, data)
    events = _events(gateway, data, wanted)
    first = await anext(events)
    if wanted.stream:
        return StreamingResponse(_server_sent(_chain(first, events)), media_type="text/event-stream")
    finished = [event async for event in _chain(first, events) if isinstance(event, Finished)][-1]
    return _render(finished.completed, wanted, finished.duration_s)


async def _events(gateway: Gateway, data: bytes, wanted: TranscriptionRequest) -> AsyncIterator[Event]:
    """The pipeline's events; the last is Finished. Maps what goes wrong to HTTP errors."""
    try:
        with gateway.session("rest"):
            async with asyncio.timeout(gateway.settings.request_timeout_s):
                async for event in transcribe_file(gateway.streams, decode(data), wanted.config()):
                    yield event
    except NotAudio as error:
        raise ApiError(400, "invalid_audio", f"file: {error}", "file") from error
    except (ServerFull, TooManySessions) as error:
        raise ApiError(503, "server_full", str(error), retry_after_s=ServerFull.retry_after_s) from error
    except TranscriptionFailed as error:
        raise ApiError(503, "transcription_failed", str(error), retry_after_s=ServerFull.retry_after_s) from error
    except TimeoutError:
        limit = gateway.settings.request_timeout_s
        raise ApiError(503, "timeout", f"the transcription took longer than {limit:g} s") from None


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        raise ApiError(411, "length_required", "the request needs a content-length")
    if int(length) > limit + FORM_OVERHEAD_BYTES:
        raise ApiError(413, "file_too_large", f"file: at most {limit} bytes are taken", "file")


def _parse(form: FormData, model: str) -> TranscriptionRequest:
    lists = {"keywords", "timestamp_granularities", "include"}
    fields: dict[str, Any] = {}
    for name in form:
        plain = name.removesuffix("[]")
        values = [value for value in form.getlist(name) if isinstance(value, str)]
        if plain in lists:
            fields.setdefault(plain, []).extend(values)
        elif plain != "file":
            fields[plain] = values[-1] if values else None
    try:
        request = msgspec.convert(fields, TranscriptionRequest, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        raise ApiError(400, "invalid_value", f"{param}: {problem}" if param else problem, param) from None
    if request.model not in OPENAI_TRANSCRIBERS | {model}:
        raise ApiError(404, "model_not_found", f"model: there is no model {request.model!r}", "model")
    if request.language is not None and request.language not in LANGUAGES:
        raise ApiError(400, "invalid_value", f"language: {unknown_language(request.language)}", "language")
    return request


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError(400, "missing_required_parameter", "file: the audio file is missing", "file")
    return file


def _check_audio(data: bytes) -> None:
    """Find out that a file is not audio before a worker is claimed or a stream begun."""
    try:
        next(decode(data), None)
    except NotAudio as error:
        raise ApiError(400, "invalid_audio", f"file: {error}", "file") from error


async def _chain(first: Event, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    async for event in events:
        yield event


async def _server_sent(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield _server_sent_event(event)
    except ApiError as error:
        yield _data({"type": "error", "error": {"code": error.code, "message": str(error), "param": error.param}})


def _server_sent_event(event: Event) -> bytes:
    match event:
        case Delta(_, text):
            return _data({"type": "transcript.text.delta", "delta": text})
        case Finished(completed, _):
            return _data({"type": "transcript.text.done", "text": completed.text})


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def _render(completed: Completed, wanted: TranscriptionRequest, duration_s: float) -> Response:
    cues = [Cue(start, end, final.text) for start, end, final in completed.segments]
    match wanted.response_format:
        case "text":
            return PlainTextResponse(completed.text + "\n")
        case "srt":
            return PlainTextResponse(srt(cues), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse(vtt(cues), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(_verbose(completed, wanted, duration_s))
    body: dict[str, Any] = {"text": completed.text, "usage": _usage(duration_s)}
    if wanted.include:
        tokens = [token for _, _, final in completed.segments for token in final.tokens]
        body["logprobs"] = [
            {"token": text, "logprob": logprob, "bytes": list(text.encode())} for text, logprob in tokens
        ]
    return JSONResponse(body)


def _verbose(completed: Completed, wanted: TranscriptionRequest, duration_s: float) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": next((final.language for _, _, final in completed.segments if final.language), "") or "",
        "duration": duration_s,
        "text": completed.text,
        "usage": _usage(duration_s),
    }
    if "segment" in wanted.timestamp_granularities:
        body["segments"] = [
            {
                "id": index,
                "seek": 0,
                "start": start,
                "end": end,
                "text": final.text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": final.avg_logprob,
                "compression_ratio": None,
                "no_speech_prob": final.no_speech,
            }
            for index, (start, end, final) in enumerate(completed.segments)
        ]
    if "word" in wanted.timestamp_granularities:
        words = [word for _, _, final in completed.segments for word in final.words]
        body["words"] = [{"word": word.text, "start": word.start / 16_000, "end": word.end / 16_000} for word in words]
    return body


def _usage(duration_s: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": duration_s}
