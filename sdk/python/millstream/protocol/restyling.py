"""Live video over `/v1/live`."""

import json
from typing import Any

from millstream.errors import error_of
from millstream.events import Held, Reconnected, Restyled, RestylingEvent, Unchanged, Unreadable
from millstream.protocol.base import Message, Protocol

TICKS_PER_S = 90_000
_PTS_BYTES = 8
_HEADER_BYTES = 12
_MERGED = ("denoising", "filter")


class RestylingProtocol(Protocol[RestylingEvent]):
    """`options` are the fields of the protocol's `restyle` message."""

    path = "/v1/live"

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.dropped = 0
        """Pictures that did not come, since later ones replaced them, or the connection was lost."""
        self._options: dict[str, Any] = {}
        self._owed = 0
        """Pictures that were sent and not answered for."""
        self._begun = self._ending = False
        self._choose(options)

    def begin(self) -> None:
        self._say({"type": "restyle", **self._options})

    def change(self, options: dict[str, Any]) -> None:
        """Restyle differently from the next picture on."""
        self._choose(options)
        self._say({"type": "restyle", **options})

    def show(self, picture: bytes, pts: int) -> None:
        """Send a picture."""
        self._owed += 1
        if self.ready:
            self.outgoing.append(pts.to_bytes(_PTS_BYTES, "big") + picture)

    def finish(self) -> None:
        """No more pictures come."""
        self._ending = True
        if self.ready:
            self._say({"type": "finish"})

    def receive(self, message: Message) -> None:
        if isinstance(message, bytes):
            pts, dropped = (int.from_bytes(part, "big") for part in (message[:_PTS_BYTES], message[8:_HEADER_BYTES]))
            self._drop_pictures(dropped)
            self._answer(Restyled(pts, message[_HEADER_BYTES:], dropped))
        else:
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ready":
                self._agreed()
            case "unchanged":
                self._answer(Unchanged(message["pts"]))
            case "held":
                self.proven = True
                self.events.append(Held(message["pts"]))
            case "unreadable":
                self._answer(Unreadable(message["pts"], message["message"]))
            case "finished":
                self._drop_pictures(message["dropped"])
                self.finished = True
            case "error":
                raise error_of(message["error"])

    def _agreed(self) -> None:
        self.ready = True
        if self._begun:
            self.events.append(Reconnected(lost_pictures=self._owed))
            self._drop_pictures(self._owed)
            if self._ending:
                self._say({"type": "finish"})
        self._begun = True

    def _answer(self, event: RestylingEvent) -> None:
        self.proven = True
        self._owed -= 1
        self.events.append(event)

    def _drop_pictures(self, count: int) -> None:
        self._owed -= count
        self.dropped += count

    def _choose(self, options: dict[str, Any]) -> None:
        for name, value in options.items():
            known = self._options.get(name)
            if name in _MERGED and isinstance(value, dict) and isinstance(known, dict):
                value = {**known, **value}
            self._options[name] = value
