"""Replies of the pipeline as events of the protocol."""

from typing import Any

from app.realtime import events
from app.realtime.events import ServerEvent
from app.realtime.items import shown_item, shown_part
from pipelines.converse_events import ItemFinished, ItemStarted, Outcome, ReplyFinished, Usage
from pipelines.items import FunctionCall, Message, Part


def started_item(event: ItemStarted, *, joined: bool) -> list[ServerEvent]:
    """What is said of an item that a reply begins; `joined`: it is part of the conversation."""
    item = shown_item(event.item, started=True)
    place: dict[str, Any] = {"response_id": event.reply, "output_index": event.index}
    told: list[ServerEvent] = [events.OutputItemAdded(**place, item=item)]
    if joined:
        told.append(events.ItemAdded(item=item, previous_item_id=event.previous))
    if isinstance(event.item, Message):
        part = _wire_part(event.item.content[0], started=True)
        told.append(events.ContentPartAdded(**place, item_id=event.item.id, part=part))
    return told


def finished_item(event: ItemFinished, previous: str | None, *, joined: bool) -> list[ServerEvent]:
    """What is said of an item that a reply has ended."""
    item = event.item
    place: dict[str, Any] = {"response_id": event.reply, "output_index": event.index}
    here = place | {"item_id": item.id}
    told: list[ServerEvent] = []
    match item:
        case Message(content=[Part(type="output_audio", text=text) as part]):
            told.append(events.AudioDone(**here))
            told.append(events.AudioTranscriptDone(**here, transcript=text or ""))
            told.append(events.ContentPartDone(**here, part=_wire_part(part)))
        case Message(content=[Part(text=text) as part]):
            told.append(events.TextDone(**here, text=text or ""))
            told.append(events.ContentPartDone(**here, part=_wire_part(part)))
        case FunctionCall(call_id=call_id, name=name, arguments=arguments):
            told.append(events.CallArgumentsDone(**here, call_id=call_id, name=name, arguments=arguments))
    shown = shown_item(item)
    told.append(events.OutputItemDone(**place, item=shown))
    if joined:
        told.append(events.ItemDone(item=shown, previous_item_id=previous))
    return told


def finished_response(event: ReplyFinished) -> dict[str, Any]:
    """Status, output and usage of the response object."""
    return {
        "status": event.outcome.status,
        "status_details": _details(event.outcome),
        "output": [shown_item(item) for item in event.items],
        "usage": event.usage and _usage(event.usage),
    }


def _details(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.status == "completed":
        return None
    details: dict[str, Any] = {"type": outcome.status}
    if outcome.reason is not None:
        details["reason"] = outcome.reason
    if outcome.code is not None:
        details["error"] = {"type": "server_error", "code": outcome.code, "message": outcome.message}
    return details


def _usage(usage: Usage) -> dict[str, Any]:
    cached = {"text_tokens": usage.cached, "audio_tokens": 0, "image_tokens": 0}
    return {
        "total_tokens": usage.prompt + usage.completion,
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "input_token_details": {
            "text_tokens": usage.prompt,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached,
            "cached_tokens_details": cached,
        },
        "output_token_details": {"text_tokens": usage.completion, "audio_tokens": 0},
    }


def _wire_part(part: Part, *, started: bool = False) -> dict[str, Any]:
    """In part events the types are `text` and `audio`."""
    shown = shown_part(Part(part.type, "") if started else part)
    return shown | {"type": part.type.removeprefix("output_")}
