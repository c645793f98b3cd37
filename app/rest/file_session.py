"""A file as a session of its own: pushed under credit, committed at its end."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator

import msgspec

from pipelines.effects import OpenStream, Push, StreamOutput
from pipelines.transcribe import SERVICE, Transcribe
from pipelines.transcribe_events import CommitRefused, Completed, Delta, Effect, Failed, GaveUp
from pipelines.transcribe_state import TranscribeConfig, TranscribeState
from pipelines.transcript import seconds
from workers.broker.client import Stream, StreamClient
from workers.broker.envelope import Envelope

ITEM = "file"


class Finished(msgspec.Struct, frozen=True):
    """The whole transcript of a file of `duration_s`."""

    completed: Completed
    duration_s: float


Event = Delta | Finished


class TranscriptionFailed(Exception):
    """The workers could not transcribe the file."""


class EndOfFile:
    """Everything has been pushed."""


Inbox = asyncio.Queue[Envelope | EndOfFile | BaseException]


async def transcribe_file(
    streams: StreamClient, pieces: Iterator[bytes], config: TranscribeConfig
) -> AsyncGenerator[Event, None]:
    """Transcribe 16 kHz mono int16 audio: yields deltas, then Finished.

    Raises ServerFull, TranscriptionFailed, and whatever `pieces` raises.
    """
    pipeline = Transcribe(TranscribeState(config), lambda: ITEM)
    inbox: Inbox = asyncio.Queue()
    stream = await streams.open(SERVICE, {}, inbox.put_nowait)
    feeding = asyncio.create_task(_feed(pieces, pipeline, stream, inbox))
    try:
        while True:
            effects = _handle(await inbox.get(), pipeline)
            for event in _carry_out(effects, pipeline, stream):
                yield event
                if isinstance(event, Finished):
                    return
    finally:
        feeding.cancel()
        stream.close()


async def _feed(pieces: Iterator[bytes], pipeline: Transcribe, stream: Stream, inbox: Inbox) -> None:
    """Push the whole file, as fast as credit allows."""
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            list(_carry_out(pipeline.audio(piece), pipeline, stream))
            await stream.writable()
        inbox.put_nowait(EndOfFile())
    except Exception as error:  # handed to whoever iterates
        inbox.put_nowait(error)


def _handle(message: Envelope | EndOfFile | BaseException, pipeline: Transcribe) -> list[Effect]:
    match message:
        case BaseException():
            raise message
        case EndOfFile():
            return pipeline.commit()
        case Envelope(kind="closed"):
            return []
        case Envelope(kind=kind, pts=pts, data=data, meta=meta):
            return pipeline.on_output(StreamOutput(kind, pts, data, meta))


def _carry_out(effects: Iterable[Effect], pipeline: Transcribe, stream: Stream) -> Iterator[Event]:
    for effect in effects:
        match effect:
            case Push(kind, pts, data, meta, slack_s):
                stream.push(kind, pts=pts, data=data, meta=meta, slack_s=slack_s)
            case Delta():
                yield effect
            case Completed():
                yield Finished(effect, seconds(pipeline.state.received))
            case CommitRefused():
                yield Finished(Completed(ITEM, "", 0.0, []), seconds(pipeline.state.received))
            case Failed(_, code, message) | GaveUp(code, message):
                raise TranscriptionFailed(f"{code}: {message}")
            case OpenStream():
                raise TranscriptionFailed("worker_lost: the worker is gone before it had heard anything")
