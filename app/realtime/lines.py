"""A session's streams, by the names that its pipeline gave them."""

import asyncio
from collections.abc import Callable

from redis.exceptions import RedisError

from pipelines.effects import Action, Cancel, CloseStream, OpenStream, Push, Show, StreamOutput
from workers.broker.client import ServerFull, Stream, StreamClient
from workers.broker.envelope import Envelope

MAX_WAITING_BYTES = 64_000
"""With more than this waiting for a stream to open, the client is not read."""

OnOutput = Callable[[str, StreamOutput], None]


class Line:
    """One stream at a time, under one name. What is asked of it while it is being opened is done once it is open."""

    def __init__(self, name: str, streams: StreamClient, on_output: OnOutput) -> None:
        self._name = name
        self._streams = streams
        self._on_output = on_output
        self._stream: Stream | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting: list[Push | Cancel] = []

    def open(self, service: str, options: dict[str, object], timeout_s: float | None) -> None:
        """Begin to reserve a slot of `service`; a refusal comes as an output of kind `refused`."""
        self.close()
        self._opening = asyncio.create_task(self._open(service, options, timeout_s))

    async def opened(self) -> None:
        """Wait until the stream is open, or refused."""
        if self._opening is not None:
            await asyncio.wait([self._opening])

    def act(self, action: Push | Cancel) -> None:
        """Do something with the stream."""
        if self._opening is not None:
            self._waiting.append(action)
        elif self._stream is not None:
            _perform(self._stream, action)

    async def show(self, picture: Show) -> None:
        """Send a picture, once the stream is open."""
        await self.opened()
        if self._stream is not None:
            await self._stream.show(picture.pts, picture.data, picture.slack_s)

    async def writable(self) -> None:
        """Wait until there is room for more."""
        if sum(len(action.data) for action in self._waiting if isinstance(action, Push)) > MAX_WAITING_BYTES:
            await self.opened()
        if self._stream is not None:
            await self._stream.writable()

    def close(self) -> None:
        """Give the slot back."""
        self._waiting.clear()
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def _open(self, service: str, options: dict[str, object], timeout_s: float | None) -> None:
        try:
            stream = await self._streams.open(service, options, self._receive, timeout_s)
        except ServerFull as error:
            self._refused("server_full", f"{error}; try again in {error.retry_after_s} s")
            return
        except RedisError as error:
            self._refused("broker_unavailable", str(error))
            return
        self._opening, self._stream = None, stream
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            _perform(stream, action)

    def _refused(self, code: str, message: str) -> None:
        self._opening = None
        self._waiting.clear()
        self._on_output(self._name, StreamOutput("refused", meta={"code": code, "message": message}))

    def _receive(self, envelope: Envelope) -> None:
        if envelope.kind != "closed":
            output = StreamOutput(envelope.kind, envelope.pts, envelope.data, envelope.meta)
            self._on_output(self._name, output)


class Lines:
    """All streams of a session."""

    def __init__(self, streams: StreamClient, on_output: OnOutput, recovery_timeout_s: float) -> None:
        self._streams = streams
        self._on_output = on_output
        self._recovery_timeout_s = recovery_timeout_s
        self._lines: dict[str, Line] = {}

    def perform(self, name: str, action: Action) -> None:
        """Carry out an action on the stream called `name`. A stream that is opened again may take longer."""
        match action:
            case OpenStream(service, options):
                timeout_s = self._recovery_timeout_s if name in self._lines else None
                line = self._lines.setdefault(name, Line(name, self._streams, self._on_output))
                line.open(service, options, timeout_s)
            case CloseStream():
                if name in self._lines:
                    self._lines.pop(name).close()
            case Push() | Cancel():
                if name in self._lines:
                    self._lines[name].act(action)

    async def show(self, name: str, picture: Show) -> None:
        """Send a picture to the stream called `name`, once it is open."""
        if name in self._lines:
            await self._lines[name].show(picture)

    async def opened(self) -> None:
        """Wait until every stream is open, or refused."""
        for line in list(self._lines.values()):
            await line.opened()

    async def writable(self) -> None:
        """Wait until every stream takes more."""
        for line in list(self._lines.values()):
            await line.writable()

    def close(self) -> None:
        """Give every slot back."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


def _perform(stream: Stream, action: Push | Cancel) -> None:
    match action:
        case Cancel(turn):
            stream.cancel(turn)
        case Push(kind, pts, data, meta, slack_s):
            stream.push(kind, pts=pts, data=data, meta=meta, slack_s=slack_s)
