"""The protocol of `/v1/live`, sans-I/O: what a client says in, what is to be done and said out.

A client's text messages are JSON objects, `{"type": "restyle", ...}` first, and `{"type": "finish"}` at its end; its
binary messages are pictures behind their media time. docs/live.md has the whole of it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from models.base import StreamError
from models.diffusion.options import MAX_FRAME_BYTES, Restyling, merged, restyling
from pipelines.effects import OpenStream, Push, Show, StreamOutput
from pipelines.restyle import (
    Answer,
    Failed,
    Finished,
    Held,
    Request,
    Restyle,
    Restyled,
    RestyleState,
    Unchanged,
    Unreadable,
)

PTS_BYTES = 8
DROPPED_BYTES = 4
MAX_PTS = 2**63 - 1


class Say(msgspec.Struct, frozen=True):
    """Send a JSON event."""

    event: dict[str, Any]


class Picture(msgspec.Struct, frozen=True):
    """Send a picture; a newer one may take its place, and then counts it among its `dropped`."""

    pts: int
    data: bytes
    dropped: int

    def encode(self) -> bytes:
        """As the client gets it."""
        return self.pts.to_bytes(PTS_BYTES, "big") + self.dropped.to_bytes(DROPPED_BYTES, "big") + self.data


class End(msgspec.Struct, frozen=True):
    """Close the connection, once all is sent."""


Effect = OpenStream | Push | Show | Say | Picture | End


class _Typed(msgspec.Struct):
    type: str


class LiveSession:
    """One client's live video."""

    def __init__(self) -> None:
        self._pipeline: Restyle | None = None
        self._wanted: Restyling | None = None
        self._pts = -1

    def takes_pictures(self, under_way: int) -> bool:
        """Whether another picture may come, with fewer than `under_way` that are not answered for."""
        if self._pipeline is None or self._pipeline.state.finishing:
            return False
        return self._pipeline.state.waiting < under_way

    def receive(self, message: str | bytes) -> Sequence[Effect]:
        """Take a client's message. What is wrong with it is said, and changes nothing."""
        try:
            return self._text(message) if isinstance(message, str) else self._picture(message)
        except StreamError as error:
            return [Say(error_event(error.code, str(error), error.param))]

    def on_output(self, output: StreamOutput) -> Sequence[Effect]:
        """Take what the stream produced."""
        assert self._pipeline is not None
        return [effect for told in self._pipeline.on_output(output) for effect in self._tell(told)]

    def _text(self, message: str) -> Sequence[Effect]:
        try:
            fields = msgspec.json.decode(message, type=dict[str, Any])
            kind = msgspec.convert(fields, _Typed).type
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StreamError(f"a text message is a JSON object with a type: {error}", param="type") from error
        match kind:
            case "restyle":
                return self._restyle({name: value for name, value in fields.items() if name != "type"})
            case "finish":
                return self._running().finish()
        raise StreamError(f"type must be restyle or finish, not {kind!r}", param="type")

    def _restyle(self, options: dict[str, Any]) -> Sequence[Effect]:
        self._wanted = restyling(options, self._wanted)
        if self._pipeline is not None:
            return self._pipeline.change(options, merged(self._pipeline.state.options, options))
        self._pipeline = Restyle(RestyleState(options))
        return [*self._pipeline.start(), Say({"type": "ready"})]

    def _picture(self, message: bytes) -> Sequence[Effect]:
        pts, data = int.from_bytes(message[:PTS_BYTES], "big"), message[PTS_BYTES:]
        if not data:
            raise StreamError(f"a picture follows the {PTS_BYTES} bytes of its pts", param="picture")
        if len(data) > MAX_FRAME_BYTES:
            raise StreamError(f"a picture has at most {MAX_FRAME_BYTES} bytes, got {len(data)}", param="picture")
        if not self._pts < pts <= MAX_PTS:
            raise StreamError(f"pts must rise: {pts} after {self._pts}", param="pts")
        effects = self._running().show(pts, data)
        self._pts = pts
        return effects

    def _running(self) -> Restyle:
        if self._pipeline is None:
            raise StreamError("a restyle message comes first", param="type")
        if self._pipeline.state.finishing:
            raise StreamError("nothing follows finish", param="type")
        return self._pipeline

    def _tell(self, told: Request | Answer) -> Sequence[Effect]:
        match told:
            case OpenStream() | Push() | Show():
                return [told]
            case Restyled(pts, data, dropped):
                return [Picture(pts, data, dropped)]
            case Unchanged(pts):
                return [Say({"type": "unchanged", "pts": pts})]
            case Held(pts):
                return [Say({"type": "held", "pts": pts})]
            case Unreadable(pts, message):
                return [Say({"type": "unreadable", "pts": pts, "message": message})]
            case Finished(dropped):
                return [Say({"type": "finished", "dropped": dropped}), End()]
            case Failed(code, message):
                return [Say(error_event(code, message)), End()]


def error_event(code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """What a client is told of an error."""
    return {"type": "error", "error": {"code": code, "message": message, "param": param}}
