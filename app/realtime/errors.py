"""Errors of the Realtime protocol."""

from typing import Literal

import msgspec

MAX_EVENT_ID = 512
MAX_QUOTED = 1_024
"""Characters of an error message: it may quote what the client sent, and that may be megabytes."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong; `param` names the field, `event_id` the client's event."""

    type: Literal["invalid_request_error", "server_error"]
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class BadEvent(Exception):
    """What a client sent is not an event of the protocol, or not one of this session."""

    def __init__(self, detail: ErrorDetail) -> None:
        super().__init__(detail.message)
        self.detail = msgspec.structs.replace(
            detail,
            message=detail.message[:MAX_QUOTED],
            param=detail.param and detail.param[:MAX_QUOTED],
            event_id=detail.event_id and detail.event_id[:MAX_EVENT_ID],
        )


def bad_request(code: str, message: str, param: str | None = None, event_id: str | None = None) -> BadEvent:
    """The error of a client event that asks for what cannot be."""
    return BadEvent(ErrorDetail("invalid_request_error", code, message, param, event_id))
