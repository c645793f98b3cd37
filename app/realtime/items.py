"""Conversation items between the protocol and the pipeline."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.realtime.errors import BadEvent, bad_request
from pipelines.items import FunctionCall, FunctionCallOutput, Item, Message, Part, PartType, Role

MAX_TEXT = 100_000
ItemName = Annotated[str, Meta(min_length=1, max_length=32)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
CallId = Annotated[str, Meta(min_length=1, max_length=64)]

_PARTS: dict[Role, tuple[str, ...]] = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio"),
    "assistant": ("output_text", "output_audio"),
}


class _ItemRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="type", kw_only=True):
    id: ItemName | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class ContentRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Content of a message as a client sends it."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: Text | None = None
    transcript: Text | None = None
    audio: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class MessageRequest(_ItemRequest, frozen=True, tag="message"):
    """A message."""

    role: Role
    content: Annotated[list[ContentRequest], Meta(max_length=64)]
    phase: str | None = None


class CallRequest(_ItemRequest, frozen=True, tag="function_call"):
    """A function call of the past."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    arguments: Text
    call_id: CallId | None = None


class CallOutputRequest(_ItemRequest, frozen=True, tag="function_call_output"):
    """What a function returned."""

    call_id: CallId
    output: Text


class ItemReference(msgspec.Struct, frozen=True, tag_field="type", tag="item_reference"):
    """An item of the conversation."""

    id: str


ItemRequest = MessageRequest | CallRequest | CallOutputRequest


def to_item(request: ItemRequest, new_id: str, param: str, event_id: str | None) -> Item:
    """The pipeline's item. `param` is the path of the request in the event. Raises BadEvent."""
    item_id = request.id or new_id
    match request:
        case MessageRequest(role=role, content=content):
            parts = [_to_part(role, part, f"{param}.content[{index}]", event_id) for index, part in enumerate(content)]
            return Message(item_id, role, parts)
        case CallRequest(name=name, arguments=arguments, call_id=call_id):
            return FunctionCall(item_id, call_id or new_id.replace("item_", "call_", 1), name, arguments)
        case CallOutputRequest(call_id=call_id, output=output):
            return FunctionCallOutput(item_id, call_id, output)


def _to_part(role: Role, part: ContentRequest, param: str, event_id: str | None) -> Part:
    def refused(field: str, message: str) -> BadEvent:
        return bad_request("invalid_value", f"{param}.{field}: {message}", f"{param}.{field}", event_id)

    if part.type not in _PARTS[role]:
        raise refused("type", f"a message of role {role!r} has content of type {' or '.join(_PARTS[role])}")
    kind: PartType = part.type  # type: ignore[assignment]
    if kind in ("input_text", "output_text"):
        if part.text is None:
            raise refused("text", "missing")
        return Part(kind, part.text)
    if part.transcript is None:
        raise refused("transcript", "audio needs its transcript here; to have audio heard, append it to the buffer")
    return Part(kind, part.transcript)


def shown_item(item: Item, *, started: bool = False) -> dict[str, Any]:
    """The protocol's item, without audio; as it was when it was `started`, if so."""
    status = "in_progress" if started else item.status
    shown: dict[str, Any] = {"id": item.id, "object": "realtime.item", "status": status}
    match item:
        case Message(role=role, content=content):
            parts = [] if started else [shown_part(part) for part in content]
            return shown | {"type": "message", "role": role, "content": parts}
        case FunctionCall(call_id=call_id, name=name, arguments=arguments):
            call = {"type": "function_call", "call_id": call_id, "name": name}
            return shown | call | {"arguments": "" if started else arguments}
        case FunctionCallOutput(call_id=call_id, output=output):
            return shown | {"type": "function_call_output", "call_id": call_id, "output": output}


def shown_part(part: Part) -> dict[str, Any]:
    """Content of a message: text, or the transcript of audio."""
    field = "transcript" if part.type.endswith("audio") else "text"
    return {"type": part.type, field: part.text}
