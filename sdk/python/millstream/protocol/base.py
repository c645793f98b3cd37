"""What the protocols of all sessions have in common."""

import json
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Generic, TypeVar

Message = str | bytes
"""A text or binary message of a WebSocket."""
EventT = TypeVar("EventT")


class Protocol(ABC, Generic[EventT]):
    """One session, over one connection after the other. `outgoing` is what is to be sent, in order; `events` is what
    the user has yet to be told.
    """

    path: str
    """Where the server offers it."""

    def __init__(self) -> None:
        self.outgoing: deque[Message] = deque()
        self.events: deque[EventT] = deque()
        self.ready = False
        """Whether the server has agreed to the session on the present connection."""
        self.proven = False
        """Whether it has served the session, so that another may be worth a try if the connection drops."""
        self.finished = False
        """Whether nothing more will come."""

    @abstractmethod
    def begin(self) -> None:
        """A connection is open: ask for the session."""

    @abstractmethod
    def receive(self, message: Message) -> None:
        """Take a message. Raises ServerError if it ends the session, Dropped if a new connection may help."""

    def drop(self) -> None:
        """The connection is gone."""
        self.outgoing.clear()
        self.ready = self.proven = False

    def _say(self, *events: dict[str, Any]) -> None:
        self.outgoing.extend(json.dumps(event) for event in events)
