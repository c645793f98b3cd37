"""What was said in a conversation, to be told to a server that does not know."""

from typing import Any

MAX_ITEMS = 1_000
"""The server keeps no more either."""
_TEXTS = ("text", "transcript")


class History:
    """The items of a conversation, as the protocol has them, in order."""

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []

    def put(self, item: dict[str, Any], previous: str | None = None) -> None:
        """Add an item, after the `previous` one if that is known, else at the end; or replace the one of its id."""
        place = self._place(item["id"])
        if place is not None:
            self._items[place] = _with_transcripts(item, self._items[place])
            return
        before = None if previous is None else self._place(previous)
        self._items.insert(len(self._items) if before is None else before + 1, item)
        del self._items[:-MAX_ITEMS]

    def transcribe(self, item: str, text: str) -> None:
        """Add the transcript of what the user said."""
        place = self._place(item)
        if place is not None:
            for part in self._items[place].get("content", ()):
                part["transcript"] = text

    def remove(self, item: str) -> None:
        """Forget an item."""
        self._items = [kept for kept in self._items if kept["id"] != item]

    def restorable(self) -> list[dict[str, Any]]:
        """The items that have all their text."""
        return [item for item in self._items if _has_text(item)]

    def __contains__(self, item: str) -> bool:
        return self._place(item) is not None

    def _place(self, item: str) -> int | None:
        return next((place for place, known in enumerate(self._items) if known["id"] == item), None)


def _has_text(item: dict[str, Any]) -> bool:
    content = item.get("content", ())
    return item["type"] != "message" or all(any(part.get(text) for text in _TEXTS) for part in content)


def _with_transcripts(item: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The item, which may have been shown before its transcript was known."""
    for part, before in zip(item.get("content", ()), known.get("content", ()), strict=False):
        if "transcript" in part and part["transcript"] is None:
            part["transcript"] = before.get("transcript")
    return item
