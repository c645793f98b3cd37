"""Live video, restyled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from millstream.connection import DEFAULT_URL, Connector
from millstream.events import RestylingEvent
from millstream.flow import Source, flow
from millstream.protocol.restyling import TICKS_PER_S, RestylingProtocol
from millstream.reconnection import RECONNECT, Reconnect
from millstream.session import Session, opened

__all__ = ["TICKS_PER_S", "Restyling", "restyle"]


class Restyling(Session[RestylingProtocol, RestylingEvent]):
    """Live video: send pictures, iterate over what they become. Both may happen at once, in different tasks."""

    @property
    def dropped(self) -> int:
        """Pictures that did not come, since later ones replaced them or the connection was lost."""
        return self._protocol.dropped

    async def send(self, picture: bytes, pts: int) -> None:
        """Send a JPEG, WebP or PNG; `pts`, in ticks of 90 kHz, must rise.

        The server takes the latest when it has time. Whoever wants none dropped waits for an event after each.
        """
        self._protocol.show(picture, pts)
        await self._send()

    async def change(self, **options: Any) -> None:
        """Restyle differently from the next picture on: fields of the protocol's `restyle` message that change."""
        self._protocol.change(options)
        await self._send()

    async def finish(self) -> None:
        """Say that no more pictures come; iteration ends when all have been answered for."""
        self._protocol.finish()
        await self._send()

    def watch(self, pictures: Source[tuple[int, bytes]]) -> AsyncIterator[RestylingEvent]:
        """Send all pictures, each behind its `pts`, and finish, while iterating over the events."""
        return self._beside(self._send_all(pictures))

    async def _send_all(self, pictures: Source[tuple[int, bytes]]) -> None:
        async for pts, picture in flow(pictures):
            await self.send(picture, pts)
        await self.finish()


@asynccontextmanager
async def restyle(
    prompt: str | list[dict[str, Any]],
    url: str = DEFAULT_URL,
    *,
    api_key: str | None = None,
    reconnect: Reconnect | None = RECONNECT,
    **options: Any,
) -> AsyncIterator[Restyling]:
    """Restyle live video on the server at `url`: `prompt` is a text, or several as `{"prompt": ..., "weight": ...}`.

    `options` are other fields of the protocol's `restyle` message, such as `denoising`. When the connection drops, the
    next pictures go over another one; `reconnect=None` ends the session instead. Raises OSError if the server cannot be
    reached, ServerError if it refuses the connection or an option.
    """
    protocol = RestylingProtocol({"prompt": prompt, **options})
    async with opened(Restyling(protocol, Connector(url, api_key), reconnect)) as restyling:
        yield restyling
