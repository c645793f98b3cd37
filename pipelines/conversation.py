"""The history of a conversation: items in order, and the prompt that they make."""

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from pipelines.items import FunctionCall, FunctionCallOutput, Item, Message

SAMPLES_PER_MS = 24
"""Speech is synthesised at 24 kHz."""
ROOT = "root"
"""Stands for the place before the first item."""
MAX_ITEMS = 1_000
"""Beyond this the oldest items are forgotten."""

Prompt = list[dict[str, Any]]


class ItemError(Exception):
    """An item cannot be added, found or changed. `param` names the field of the request."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Conversation(msgspec.Struct):
    """Items in order."""

    items: list[Item] = []

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item after another, `root` or the last. Returns the id of the one before. Raises ItemError."""
        if any(other.id == item.id for other in self.items):
            raise ItemError("item_exists", f"there is an item {item.id!r} already", "item.id")
        if isinstance(item, FunctionCallOutput) and not self._called(item.call_id):
            message = f"no function call has the call_id {item.call_id!r}"
            raise ItemError("invalid_value", message, "item.call_id")
        at = self._place(after)
        self.items.insert(at, item)
        return self.items[at - 1].id if at else None

    def find(self, item_id: str, param: str = "item_id") -> Item:
        """The item of an id. Raises ItemError."""
        return self.items[self._index(item_id, param)]

    def delete(self, item_id: str) -> None:
        """Forget an item. Raises ItemError."""
        del self.items[self._index(item_id, "item_id")]

    def before(self, item_id: str) -> str | None:
        """The id of the item that precedes another. Raises ItemError."""
        at = self._index(item_id, "item_id")
        return self.items[at - 1].id if at else None

    def trim(self, keep: Container[str]) -> list[str]:
        """Forget the oldest items beyond `MAX_ITEMS`, but not those to `keep`; returns their ids."""
        surplus = max(0, len(self.items) - MAX_ITEMS)
        forgotten = [item.id for item in self.items if item.id not in keep][:surplus]
        self.items = [item for item in self.items if item.id not in forgotten] if forgotten else self.items
        return forgotten

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut a spoken message to what had been heard by `audio_end_ms`. Raises ItemError."""
        item = self.find(item_id)
        if not isinstance(item, Message) or item.role != "assistant":
            raise ItemError("invalid_value", "only a message of the assistant can be truncated", "item_id")
        if content_index >= len(item.content) or item.content[content_index].type != "output_audio":
            raise ItemError("invalid_value", f"the item has no audio content {content_index}", "content_index")
        part = item.content[content_index]
        length_ms = -(-part.samples // SAMPLES_PER_MS)
        if audio_end_ms > length_ms:
            message = f"the audio has {length_ms} ms, it cannot be cut at {audio_end_ms}"
            raise ItemError("invalid_value", message, "audio_end_ms")
        samples = min(audio_end_ms * SAMPLES_PER_MS, part.samples)
        part.marks = [mark for mark in part.marks if mark.sample <= samples]
        part.text = (part.text or "")[: part.marks[-1].text] if part.marks else ""
        part.samples = samples
        item.status = "incomplete"

    def _called(self, call_id: str) -> bool:
        return any(isinstance(item, FunctionCall) and item.call_id == call_id for item in self.items)

    def _place(self, after: str | None) -> int:
        match after:
            case None:
                return len(self.items)
            case "root":
                return 0
        return self._index(after, "previous_item_id") + 1

    def _index(self, item_id: str, param: str) -> int:
        for index, item in enumerate(self.items):
            if item.id == item_id:
                return index
        raise ItemError("item_not_found", f"there is no item {item_id!r}", param)


def prompt(instructions: str, items: Iterable[Item]) -> Prompt:
    """Chat-completions messages of a history. What has no text (silence, speech not yet recognised) is left out, and
    so is a function call without its result or a result without its call, which no model expects. Results follow
    their calls at once, whatever was said in between. It is never empty, since no model takes an empty one.
    """
    items = list(items)
    results = {item.call_id: item for item in items if isinstance(item, FunctionCallOutput)}
    messages: Prompt = [{"role": "system", "content": instructions}] if instructions else []
    calls: list[FunctionCall] = []
    for item in items:
        match item:
            case FunctionCall(call_id=call_id):
                calls += [item] if call_id in results else []
                continue
            case Message(role=role, content=content):
                messages += _called(calls, results)
                text = "\n".join(part.text for part in content if part.text)
                messages += [{"role": role, "content": text}] if text.strip() else []
            case FunctionCallOutput():
                messages += _called(calls, results)
        calls = []
    messages += _called(calls, results)
    return messages or [{"role": "system", "content": ""}]


def _called(calls: list[FunctionCall], results: dict[str, FunctionCallOutput]) -> Prompt:
    """Calls that follow one another are one message."""
    if not calls:
        return []
    shown = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    answers = [
        {"role": "tool", "tool_call_id": call.call_id, "content": results[call.call_id].output} for call in calls
    ]
    return [{"role": "assistant", "content": None, "tool_calls": shown}, *answers]
