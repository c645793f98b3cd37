"""What pipelines ask of their surroundings. They do no I/O: their owner carries these out in order."""

from typing import Any

import msgspec


class OpenStream(msgspec.Struct, frozen=True):
    """Reserve a slot of `service`; its outputs come back to the pipeline. Takes the place of what was open."""

    service: str
    options: dict[str, Any] = {}


class Push(msgspec.Struct, frozen=True):
    """Send one message to the open stream; fields as in `models.base.Message`. Kind `flush`: no more comes."""

    kind: str
    pts: int = 0
    data: bytes = b""
    meta: dict[str, Any] = {}
    slack_s: float = 0.0


class Show(msgspec.Struct, frozen=True):
    """Send a picture to the open stream, in place of one that nobody has looked at yet; `pts` in ticks of 90 kHz."""

    pts: int
    data: bytes
    slack_s: float


class Cancel(msgspec.Struct, frozen=True):
    """Only output of `turn` and later is wanted of the open stream; what waits there for earlier turns is dropped."""

    turn: int


class CloseStream(msgspec.Struct, frozen=True):
    """Give the slot back; no output follows."""


Action = OpenStream | Push | Cancel | CloseStream


class OnStream(msgspec.Struct, frozen=True):
    """An action on one of the several streams of a pipeline, by the name that the pipeline gave it."""

    stream: str
    action: Action


class StreamOutput(msgspec.Struct, frozen=True):
    """What comes back from a stream. Kinds `error` and `lost` are the last; `refused`: no slot was free."""

    kind: str
    pts: int = 0
    data: bytes = b""
    meta: dict[str, Any] = {}
