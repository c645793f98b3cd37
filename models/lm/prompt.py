"""From a conversation to the tokens that ask for its next reply, within a bounded context."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import Environment, meta

from models.base import StreamError
from models.lm import calls
from models.lm.calls import LISTED, MARK, TAGGED, CallFormat
from models.lm.chat import ChatMessage, FunctionCall, Tool, Truncation
from models.lm.tokens import PromptError, Tokenizer

STRIDES = 4
"""Old messages go at least 1/STRIDES of the context at a time, so that the cache outlives most turns."""
TOKENS_PER_MESSAGE = 8
"""Allowance for a message's markup."""
MAX_CHARACTERS_PER_TOKEN = 16
"""A text longer than this many times the context is refused without a look: encoding it would hold up others."""
CACHED_SIZES = 4096
DEFAULT_INSTRUCTIONS = "You are a helpful assistant."
"""Where tools must be explained and the conversation has no instructions."""


class Prompter:
    """Writes prompts of at most `context` tokens, as one checkpoint's template has them."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self._tokenizer = tokenizer
        self._context = context
        self._size = lru_cache(CACHED_SIZES)(self._measure)
        self._takes_tools = MARK in tokenizer.template and "tools" in _variables(tokenizer.template)
        self.format: CallFormat = TAGGED if self._takes_tools else LISTED

    def write(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Tool],
        reserve: int,
        truncation: Truncation = Truncation(),  # noqa: B008 (immutable)
    ) -> list[int]:
        """Tokens that ask for a reply to `messages`, of which the oldest turns are left out if there is no room for
        all beside the instructions (leading system messages), `tools`, and `reserve` tokens of reply.

        Raises StreamError if there is not even room for the last turn, or for all where none may be left out.
        """
        instructions = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
        pinned, turns = [*messages[:instructions]], messages[instructions:]
        if tools and not self._takes_tools:
            pinned = [_with_tools(pinned, tools, self.format)]
        listed = [calls.describe(tool) for tool in tools] if self._takes_tools else []
        budget = self._context - reserve
        room = budget - sum(map(self._message_size, pinned)) - self._size(json.dumps(listed))
        starts = [0] if truncation.type == "disabled" else self._starts(turns, room, truncation)
        for start in starts:
            prompt = self._encode([*pinned, *turns[start:]], listed)
            if prompt is not None and len(prompt) <= budget:
                return prompt
        kept = "conversation" if truncation.type == "disabled" else "latest turn"
        raise StreamError(
            f"the instructions, tools and {kept} do not fit into {budget} of the context's {self._context} tokens",
            code="context_length_exceeded",
            param="messages",
        )

    def _starts(self, turns: Sequence[ChatMessage], room: int, truncation: Truncation) -> Sequence[int]:
        """Where the turns that are kept may begin, the best first: at the first message or at a user's, so that no
        answer or tool result lacks what it belongs to.
        """
        sizes = [self._message_size(message) for message in turns]
        limit = room if truncation.limit is None else min(room, truncation.limit)
        excess = max(0, sum(sizes) - limit)
        if excess and truncation.type == "retention_ratio":
            excess = sum(sizes) - round(limit * truncation.retention_ratio)
        elif excess:
            stride = self._context // STRIDES
            excess = -(-excess // stride) * stride
        users = [at for at, message in enumerate(turns) if message.role == "user"]
        candidates = sorted({0, *users})
        fitting = [at for at in candidates if sum(sizes[:at]) >= excess]
        return fitting or candidates[-1:]

    def _message_size(self, message: ChatMessage) -> int:
        """Roughly how many tokens a message takes."""
        return TOKENS_PER_MESSAGE + self._size(_written(message, self.format))

    def _measure(self, text: str) -> int:
        if len(text) > MAX_CHARACTERS_PER_TOKEN * self._context:
            return self._context
        return len(self._tokenizer.encode(text))

    def _encode(self, messages: Sequence[ChatMessage], listed: Sequence[Mapping[str, Any]]) -> list[int] | None:
        """None: far too long."""
        described = [self._describe(message) for message in messages]
        try:
            text = self._tokenizer.render(described, listed)
        except PromptError as error:
            raise StreamError(str(error), param="messages") from error
        return self._tokenizer.encode(text) if len(text) <= MAX_CHARACTERS_PER_TOKEN * self._context else None

    def _describe(self, message: ChatMessage) -> dict[str, Any]:
        """A message as the template expects it."""
        if not self._takes_tools:
            return {"role": message.role, "content": _written(message, self.format)}
        described: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.tool_calls:
            functions = [call.function for call in message.tool_calls]
            described["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
                for call in functions
            ]
        return described


def _variables(template: str) -> set[str]:
    return meta.find_undeclared_variables(Environment().parse(template))


def _with_tools(pinned: Sequence[ChatMessage], tools: Sequence[Tool], form: CallFormat) -> ChatMessage:
    texts = [message.content or "" for message in pinned] or [DEFAULT_INSTRUCTIONS]
    return ChatMessage("system", "\n\n".join([*texts, calls.instructions(tools, form)]))


def _written(message: ChatMessage, form: CallFormat) -> str:
    """The text of a message for a template that knows no tools."""
    content = message.content or ""
    if message.tool_calls:
        content += form.write([call.function for call in message.tool_calls])
    return f"<tool_response>\n{content}\n</tool_response>" if message.role == "tool" else content


def _arguments(call: FunctionCall) -> object:
    """Templates write arguments as JSON themselves."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments
