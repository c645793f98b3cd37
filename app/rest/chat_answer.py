"""What the language model puts out, as objects of OpenAI's chat completions."""

import time
from typing import Any
from uuid import uuid4

import msgspec

from workers.broker.envelope import Envelope


class _Call(msgspec.Struct):
    id: str
    name: str
    arguments: str = ""


class Answer:
    """One answer as it grows."""

    def __init__(self, model: str) -> None:
        self.finish_reason: str | None = None
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
        self._text = ""
        self._calls: dict[int, _Call] = {}
        self._usage: dict[str, Any] | None = None

    def take(self, output: Envelope) -> list[dict[str, Any]]:
        """Add an output of the model; returns what it adds, as deltas."""
        meta = output.meta
        match output.kind:
            case "token":
                return self._add_text(meta["text"])
            case "call":
                return [self._add_call(meta["index"], meta["name"], meta["arguments"] or "")]
            case "done":
                # It is cancelled only for the sake of calls that are not wanted.
                self.finish_reason = "tool_calls" if meta["reason"] == "cancelled" else meta["reason"]
                self._usage = _usage(meta["usage"])
                return self._add_text(meta["text"])
        return []

    def completion(self) -> dict[str, Any]:
        """The whole answer: a `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": self._text, "refusal": None}
        if self._calls:
            message["content"] = self._text or None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for _, call in sorted(self._calls.items())
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason, "logprobs": None}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """A `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self) -> dict[str, Any]:
        """The chunk after the last, if usage is wanted."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage}

    def _add_text(self, text: str) -> list[dict[str, Any]]:
        self._text += text
        return [{"content": text}] if text else []

    def _add_call(self, index: int, name: str | None, arguments: str) -> dict[str, Any]:
        function = {"arguments": arguments}
        if name is None:
            self._calls[index].arguments += arguments
            return {"tool_calls": [{"index": index, "function": function}]}
        call = self._calls[index] = _Call(f"call_{uuid4().hex[:24]}", name, arguments)
        called = {"index": index, "id": call.id, "type": "function", "function": {"name": name, **function}}
        return {"tool_calls": [called]}


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage["cached_tokens"]},
    }
