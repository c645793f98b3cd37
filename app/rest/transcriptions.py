"""`POST /v1/audio/transcriptions`: a file through the pipeline of live audio, in a lower scheduling class."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from io import BytesIO
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.errors import ApiError
from app.gateway import Gateway, TooManySessions, gateway_of
from app.realtime.config import OPENAI_TRANSCRIBERS, Keywords, prompt_with
from app.rest.audio_file import NotAudio, decode
from app.rest.background import BACKGROUND_SLACK_S, StreamedResponse, begun, sse_data, sse_error, unless_gone
from app.rest.file_session import Event, Finished, TranscriptionFailed, transcribe_file
from app.rest.form_length import check_length
from app.rest.json_body import invalid_field
from app.rest.subtitles import Cue, srt, vtt
from pipelines.languages import LANGUAGES, unknown_language
from pipelines.transcribe_events import Completed, Delta
from pipelines.transcribe_state import TranscribeConfig
from workers.broker.client import ServerFull


class TranscriptionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form's fields but the file."""

    model: str
    language: Annotated[str, Meta(max_length=16)] | None = None
    prompt: Annotated[str, Meta(max_length=4_096)] | None = None
    keywords: Keywords = []
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
            prompt=prompt_with(self.prompt, self.keywords),
            phrases=self.keywords,
            words="word" in self.timestamp_granularities,
            partial_slack_s=BACKGROUND_SLACK_S,
            final_slack_s=BACKGROUND_SLACK_S,
        )


async def transcriptions(request: Request) -> Response:
    """Transcribe the uploaded file."""
    gateway = gateway_of(request)
    check_length(request, gateway.settings.max_upload_bytes, "file")
    async with request.form(max_part_size=gateway.settings.max_upload_bytes) as form:
        wanted = _parse(form, gateway.settings.transcriber)
        data = await _file(form).read()
    await asyncio.to_thread(_check_audio, data)
    events = _events(gateway, data, wanted)
    patience_s = gateway.settings.send_timeout_s
    return await unless_gone(
        request, _streamed(events, wanted, patience_s) if wanted.stream else _whole(events, wanted)
    )


async def _whole(events: AsyncIterator[Event], wanted: TranscriptionRequest) -> Response:
    finished = [event async for event in events if isinstance(event, Finished)][-1]
    return _render(finished.completed, wanted, finished.duration_s)


async def _streamed(events: AsyncGenerator[Event, None], wanted: TranscriptionRequest, patience_s: float) -> Response:
    return StreamedResponse(_server_sent(await begun(events), wanted), "text/event-stream", patience_s)


async def _events(gateway: Gateway, data: bytes, wanted: TranscriptionRequest) -> AsyncGenerator[Event, None]:
    """The pipeline's events; the last is Finished. Maps what goes wrong to HTTP errors."""
    deadline = asyncio.get_running_loop().time() + gateway.settings.request_timeout_s
    try:
        with gateway.session("rest"):
            async with aclosing(transcribe_file(gateway.streams, decode(BytesIO(data)), wanted.config())) as events:
                event: Event | None = None
                while not isinstance(event, Finished):
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events)
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
        raise invalid_field(error) from None
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
        next(decode(BytesIO(data)), None)
    except NotAudio as error:
        raise ApiError(400, "invalid_audio", f"file: {error}", "file") from error


async def _server_sent(
    events: AsyncGenerator[Event, None], wanted: TranscriptionRequest
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(events):
            async for event in events:
                yield _server_sent_event(event, wanted)
    except ApiError as error:
        yield sse_error(error)


def _server_sent_event(event: Event, wanted: TranscriptionRequest) -> bytes:
    match event:
        case Delta(_, text):
            return sse_data({"type": "transcript.text.delta", "delta": text})
        case Finished(completed, _):
            return sse_data({"type": "transcript.text.done", "text": completed.text, **_logprobs(completed, wanted)})


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
    return JSONResponse({"text": completed.text, "usage": _usage(duration_s), **_logprobs(completed, wanted)})


def _logprobs(completed: Completed, wanted: TranscriptionRequest) -> dict[str, Any]:
    """The field that holds each token's log-probability, if it is wanted."""
    if not wanted.include:
        return {}
    tokens = [token for _, _, final in completed.segments for token in final.tokens]
    return {"logprobs": [{"token": text, "logprob": p, "bytes": list(text.encode())} for text, p in tokens]}


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
