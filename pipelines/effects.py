"""What pipelines ask of their surroundings. They do no I/O: their owner carries these out in order."""

from typing import Any

import msgspec


class OpenStream(msgspec.Struct, frozen=True):
    """Reserve a slot of `service`; its outputs come back to the pipeline."""

    service: str
    options: dict[str, Any] = {}


class Push(msgspec.Struct, frozen=True):
    """Send one message to the open stream; fields as in `models.base.Message`."""

    kind: str
    pts: int = 0
    data: bytes = b""
    meta: dict[str, Any] = {}
    slack_s: float = 0.0


class StreamOutput(msgspec.Struct, frozen=True):
    """What comes back from a stream. Kinds `error` and `lost` are the last."""

    kind: str
    pts: int = 0
    data: bytes = b""
    meta: dict[str, Any] = {}
