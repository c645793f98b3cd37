"""What travels between gateways and workers, and how it is written down."""

from collections.abc import Sequence
from typing import Any

import msgspec

VERSION = 1


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message of one stream, in either direction.

    `lease` says who may speak for the stream and `turn` which output is still wanted. `seq` counts the stream's
    messages in this direction from 0, across leases. `pts` is media time in samples. `slack_ms` is how long the work
    that an input causes may wait.
    """

    stream: str
    lease: int
    turn: int
    seq: int
    kind: str
    pts: int = 0
    data: bytes = b""
    meta: dict[str, Any] = {}
    slack_ms: float = 0.0


class EnvelopeError(ValueError):
    """Bytes that are not a batch of envelopes of this version."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Envelope])


def encode(envelopes: Sequence[Envelope]) -> bytes:
    """Version byte, then the msgpack array of envelopes."""
    return bytes([VERSION]) + _encoder.encode(envelopes)


def decode(frame: bytes) -> list[Envelope]:
    """Inverse of `encode`. Raises EnvelopeError on another version or on garbage."""
    if not frame or frame[0] != VERSION:
        found = frame[0] if frame else "nothing"
        raise EnvelopeError(f"envelope version {found}, but this process speaks version {VERSION}")
    try:
        return _decoder.decode(memoryview(frame)[1:])
    except msgspec.MsgspecError as error:
        raise EnvelopeError(f"malformed envelope: {error}") from error
