"""One POST at a time, with the answer as it comes. It blocks: a thread of its own is the place for it."""

import json
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from millstream.connection import refusal
from millstream.errors import Dropped

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""A server of which nothing comes for so long is given up."""
PIECE_BYTES = 24_000
_SCHEMES = {"http": HTTPConnection, "https": HTTPSConnection}


class Exchange:
    """A request to the server at `url`, and its answer. Raises ValueError if the URL is none."""

    def __init__(self, url: str, path: str, api_key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"the URL of a server begins with http:// or https://, but this is {url!r}")
        self._connection = _SCHEMES[parts.scheme](parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S)
        self._path = parts.path.rstrip("/") + path
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._answer: HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def ask(self, body: dict[str, Any]) -> None:
        """Send a request. Raises OSError if the server cannot be reached, ServerError if it refuses, Dropped if it may
        not refuse the next time.
        """
        self._connection.close()
        self._connection.connect()
        self._socket = self._connection.sock
        if self._closed:
            raise Dropped("the request was cancelled")
        self._socket.settimeout(READ_TIMEOUT_S)
        try:
            self._connection.request("POST", self._path, json.dumps(body), self._headers)
            answer = self._connection.getresponse()
            if answer.status != 200:
                raise refusal(answer.status, answer.read())
        except (OSError, HTTPException) as error:
            raise Dropped(f"the server broke off: {error!r}") from error
        self._answer = answer

    def read(self) -> bytes:
        """The next piece of the answer, nothing at its end. Raises Dropped if it is cut short."""
        assert self._answer is not None
        try:
            return self._answer.read1(PIECE_BYTES)
        except (OSError, HTTPException) as error:
            raise Dropped(f"the server broke off: {error!r}") from error

    def close(self) -> None:
        """End it, from any thread: what is waited for fails."""
        self._closed = True
        if self._socket is not None:
            with suppress(OSError):  # closed already
                self._socket.shutdown(socket.SHUT_RDWR)
