"""Conversation over the Realtime protocol."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from millstream.errors import Dropped, error_of
from millstream.events import (
    ConversationEvent,
    Final,
    Forgotten,
    Reconnected,
    Refused,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    ToolCall,
    Usage,
)
from millstream.protocol.base import Message, Protocol
from millstream.protocol.ear import COMMIT_EMPTY, Ear
from millstream.protocol.history import History
from millstream.protocol.replies import Replies

TO_RESULTS = "to_results"
"""`event_id` of the request for a reply to the results of tools."""
ALREADY_REPLYING = "conversation_already_has_active_response"
_REPLY: dict[str, Any] = {"type": "response.create"}


class ConversationProtocol(Protocol[ConversationEvent]):
    """`session` is the protocol's session object without its type."""

    path = "/v1/realtime"

    def __init__(
        self, session: dict[str, Any], keep_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._session: dict[str, Any] = {}
        self._ear = Ear(keep_s, clock)
        self._history = History()
        self._replies = Replies()
        self._old: frozenset[str] = frozenset()
        """Items that were told anew, of which the server has no audio."""
        self._begun = False
        self._choose(session)

    def begin(self) -> None:
        self._configure(self._session)

    # --- what the user says ---

    def update(self, session: dict[str, Any]) -> None:
        """Change the session."""
        self._choose(session)
        self._configure(session)

    def append(self, pcm: bytes) -> None:
        """Say 24 kHz mono little-endian int16 audio."""
        self._say_if_ready(*self._ear.append(pcm))

    def commit(self) -> None:
        """End the user's turn and ask for a reply."""
        self._say_if_ready(*self._ear.commit(_REPLY))

    def write(self, text: str) -> None:
        """Add a message of the user."""
        content = [{"type": "input_text", "text": text}]
        self._create({"type": "message", "role": "user", "content": content})

    def result(self, call: str, output: str) -> None:
        """Add the result of a tool."""
        self._create({"type": "function_call_output", "call_id": call, "output": output})
        self._replies.result(call)
        self._reply_to_results()

    def ask(self, fields: dict[str, Any]) -> None:
        """Ask for a reply."""
        self._replies.ask(fields)
        self._say_if_ready({**_REPLY, "response": fields})

    def cancel(self) -> None:
        """Stop the reply in progress."""
        self._say_if_ready({"type": "response.cancel"})

    def truncate(self, item: str, end_ms: int) -> None:
        """Only the first `end_ms` of a reply were played. The server is asked which words that leaves."""
        if item not in self._old:
            cut = {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": end_ms}
            self._say_if_ready(cut, {"type": "conversation.item.retrieve", "item_id": item})

    # --- what the server says ---

    def receive(self, message: Message) -> None:
        event = json.loads(message)
        heard = self._ear.take(event)
        if heard is not None:
            self.events.append(heard)
            if isinstance(heard, Final):
                self._transcribed(heard)
        else:
            self._take(event)
        self._reply_to_results()

    def drop(self) -> None:
        super().drop()
        for failed in self._ear.drop():
            self._history.remove(failed.item)
            self.events.append(failed)
        replies, texts = self._replies.drop()
        for item, text in texts.items():
            content = [{"type": "output_audio", "transcript": text}]
            self._history.put({"id": item, "type": "message", "role": "assistant", "content": content})
        self.events.extend(ReplyDone(reply, "failed", "the connection was lost") for reply in replies)

    def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.updated" if not self.ready:
                self._agreed()
            case "conversation.item.done":
                self._history.put(event["item"], event["previous_item_id"])
            case "conversation.item.retrieved":
                self._history.put(event["item"])
            case "conversation.item.deleted":
                self._history.remove(event["item_id"])
                self.events.append(Forgotten(event["item_id"]))
            case "error":
                self._error(event["error"])
            case kind if kind.startswith("response."):
                self._said(event)

    def _said(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "response.created":
                self._replies.start(event["response"])
                self.events.append(ReplyStarted(event["response"]["id"]))
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self._replies.say(event["response_id"], event["item_id"], event["delta"])
                self.events.append(ReplyText(event["item_id"], event["delta"], event["response_id"]))
            case "response.output_audio.delta":
                pcm = base64.b64decode(event["delta"])
                self.events.append(ReplyAudio(event["item_id"], pcm, event["response_id"]))
            case "response.output_item.done" if event["item"]["type"] == "function_call":
                self._called(event["item"], event["response_id"])
            case "response.done":
                self._replies.finish(event["response"]["id"])
                self.events.append(_done(event["response"]))

    def _called(self, item: dict[str, Any], response: str) -> None:
        if item["status"] == "completed":
            self._replies.call(response, item["call_id"])
            arguments = json.loads(item["arguments"])
            self.events.append(ToolCall(item["call_id"], item["name"], arguments, response))

    def _transcribed(self, final: Final) -> None:
        self._history.transcribe(final.item, final.text)
        detection = self._session["audio"]["input"].get("turn_detection") or {}
        if final.text and detection.get("create_response") is not False:
            self._replies.ask({})

    def _agreed(self) -> None:
        """The server serves the session; if not the first one, it is told what was said in the others."""
        self.ready = self.proven = True
        lost_s = self._ear.rewind()
        if self._begun:
            self.events.append(Reconnected(lost_s))
            items = self._history.restorable()
            self._old = frozenset(item["id"] for item in items)
            self._say(*({"type": "conversation.item.create", "item": item} for item in items))
            self._say(*self._ear.replay())
            if self._replies.asked is not None:
                self._say({**_REPLY, "response": self._replies.asked})
        self._begun = True

    def _error(self, error: dict[str, Any]) -> None:
        problem = error_of(error)
        if not self.ready or isinstance(problem, Dropped):
            raise problem
        if error["code"] == COMMIT_EMPTY:
            self._ear.refused_commit()
        if error["event_id"] == TO_RESULTS and error["code"] == ALREADY_REPLYING:
            self._replies.refused()
        else:
            self.events.append(Refused(error["code"], error["message"], error["param"]))

    # --- small things ---

    def _create(self, item: dict[str, Any]) -> None:
        item = {"id": f"item_{uuid4().hex[:20]}", **item}
        self._history.put(item)
        self._say_if_ready({"type": "conversation.item.create", "item": item})

    def _reply_to_results(self) -> None:
        if self.ready and self._replies.due and not self._ear.waiting:
            self._replies.ask({})
            self._say({**_REPLY, "event_id": TO_RESULTS})

    def _choose(self, session: dict[str, Any]) -> None:
        known, audio = self._session.get("audio", {}), session.get("audio", {})
        both = {way: {**known.get(way, {}), **audio.get(way, {})} for way in ("input", "output")}
        self._session |= {**session, "audio": both}
        self._ear.choose(both["input"])

    def _configure(self, session: dict[str, Any]) -> None:
        self._say({"type": "session.update", "session": {"type": "realtime", **session}})

    def _say_if_ready(self, *events: dict[str, Any]) -> None:
        """What is said while there is no connection is said when there is one, or of no use then."""
        if self.ready:
            self._say(*events)


def _done(response: dict[str, Any]) -> ReplyDone:
    details = response.get("status_details") or {}
    problem = (details.get("error") or {}).get("message") or details.get("reason")
    usage = response.get("usage")
    return ReplyDone(response["id"], response["status"], problem, usage and _usage(usage))


def _usage(usage: dict[str, Any]) -> Usage:
    cached = usage["input_token_details"]["cached_tokens"]
    return Usage(usage["input_tokens"], cached, usage["output_tokens"])
