"""What goes wrong between a client and a server."""

from typing import Any


class ServerError(Exception):
    """The server refused something or ended the session. `param` names the field at fault, if there is one."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Dropped(ServerError):
    """The session ended, and may go on over a new connection."""


TRY_AGAIN = frozenset({"server_full", "session_expired"})
"""Codes of errors that a new session may be without."""


def error_of(detail: dict[str, Any]) -> ServerError:
    """The error that a server tells of."""
    kind = Dropped if detail["code"] in TRY_AGAIN else ServerError
    return kind(detail["message"], detail["code"], detail["param"])
