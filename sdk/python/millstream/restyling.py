"""Live video, restyled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from millstream.connection import Connection, ServerError, connected
from millstream.events import Held, Restyled, RestylingEvent, Unchanged, Unreadable

TICKS_PER_S = 90_000
_PTS_BYTES = 8
_HEADER_BYTES = 12


class Restyling:
    """Live video: send pictures, iterate over what they become. Both may happen at once, in different tasks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dropped = 0
        """Pictures that did not come, since later ones replaced them."""

    async def send(self, picture: bytes, pts: int) -> None:
        """Send a JPEG, WebP or PNG; `pts`, in ticks of 90 kHz, must rise.

        The server takes the latest when it has time. Whoever wants none dropped waits for an event after each.
        """
        await self._connection.send_binary(pts.to_bytes(_PTS_BYTES, "big") + picture)

    async def change(self, **options: Any) -> None:
        """Restyle differently from the next picture on: fields of the protocol's `restyle` message that change."""
        await self._connection.send({"type": "restyle", **options})

    async def finish(self) -> None:
        """Say that no more pictures come; iteration ends when all have been answered for."""
        await self._connection.send({"type": "finish"})

    async def __aiter__(self) -> AsyncIterator[RestylingEvent]:
        """What the pictures became, in order. Raises ServerError."""
        while True:
            message = await self._connection.receive_any()
            if isinstance(message, bytes):
                pts, dropped = (int.from_bytes(part, "big") for part in (message[:8], message[8:_HEADER_BYTES]))
                self.dropped += dropped
                yield Restyled(pts, message[_HEADER_BYTES:], dropped)
                continue
            _raise_if_error(message)
            match message["type"]:
                case "unchanged":
                    yield Unchanged(message["pts"])
                case "held":
                    yield Held(message["pts"])
                case "unreadable":
                    yield Unreadable(message["pts"], message["message"])
                case "finished":
                    self.dropped += message["dropped"]
                    return


@asynccontextmanager
async def restyle(
    prompt: str | list[dict[str, Any]],
    url: str = "http://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    **options: Any,
) -> AsyncIterator[Restyling]:
    """Restyle live video on the server at `url`: `prompt` is a text, or several as `{"prompt": ..., "weight": ...}`.

    `options` are other fields of the protocol's `restyle` message, such as `denoising`. Raises OSError if the server
    cannot be reached, ServerError if it refuses.
    """
    async with connected(url, "/v1/live", api_key) as connection:
        restyling = Restyling(connection)
        await restyling.change(prompt=prompt, **options)
        yield restyling


def _raise_if_error(message: dict[str, Any] | bytes) -> None:
    if isinstance(message, dict) and message["type"] == "error":
        error = message["error"]
        raise ServerError(error["message"], error["code"], error["param"])
