"""Which replies are wanted, and which are being made."""

from typing import Any


class Replies:
    """The replies of a conversation, as its client sees them."""

    def __init__(self) -> None:
        self.begun: dict[str, bool] = {}
        """Replies in progress, and whether they are part of the conversation."""
        self.asked: dict[str, Any] | None = None
        """Fields of the reply that was asked for and has not said anything yet."""
        self.texts: dict[str, str] = {}
        """What the items of replies in progress have said so far."""
        self._calls: set[str] = set()
        """Calls of the last reply that have no result."""
        self._results = False
        """Whether there are results that no reply has seen."""

    def ask(self, fields: dict[str, Any]) -> None:
        """A reply was asked for."""
        if fields.get("conversation") != "none":
            self.asked, self._results = fields, False

    def start(self, response: dict[str, Any]) -> None:
        """A reply has begun; it sees all results there are."""
        joined = response["conversation_id"] is not None
        self.begun[response["id"]] = joined
        if joined:
            self._calls.clear()
            self._results = False

    def say(self, response: str, item: str, text: str) -> None:
        """A reply has said something."""
        if self.begun.get(response):
            self.asked = None
            self.texts[item] = self.texts.get(item, "") + text

    def call(self, response: str, call: str) -> None:
        """A reply wants a tool's result."""
        if self.begun.get(response):
            self.asked = None
            self._calls.add(call)

    def result(self, call: str) -> None:
        """The tool's result is there."""
        self._calls.discard(call)
        self._results = True

    def refused(self) -> None:
        """The reply to the results has to wait for another, after all."""
        self.asked, self._results = None, True

    def finish(self, response: str) -> None:
        """A reply is over."""
        if self.begun.pop(response, False):
            self.asked = None
            self.texts.clear()

    def drop(self) -> tuple[list[str], dict[str, str]]:
        """The connection is gone. Returns the replies it takes along, and what their items had said."""
        lost, texts = list(self.begun), self.texts
        self.begun, self.texts = {}, {}
        return lost, texts

    @property
    def due(self) -> bool:
        """Whether a reply to results is to be asked for now."""
        return self._results and not self._calls and self.asked is None and not any(self.begun.values())
