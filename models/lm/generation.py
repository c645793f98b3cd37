"""What a stream asks of a language model, and the reply in progress."""

import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from models.base import Message, StreamError
from models.lm.sampling import Choice, StopText
from models.lm.tokens import Detokenizer, PromptError, Tokenizer

STOP, LENGTH, CANCELLED = "stop", "length", "cancelled"
MAX_STOPS = 16
MAX_SEED = 2**64 - 1
TokenId = Annotated[int, Meta(ge=0)]


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation."""

    role: str
    content: str


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Meta of a `generate` message.

    The prompt is either `messages` or `tokens`, of which the first `pinned` outlive any overflow of the context.
    Without `seed` one is drawn.
    """

    messages: tuple[ChatMessage, ...] = ()
    tokens: tuple[TokenId, ...] = ()
    pinned: Annotated[int, Meta(ge=0)] = 0
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0
    seed: Annotated[int, Meta(ge=0)] | None = None
    max_tokens: Annotated[int, Meta(gt=0)] | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=MAX_STOPS)] = ()
    stop_tokens: tuple[TokenId, ...] = ()


class Request(msgspec.Struct, array_like=True, frozen=True):
    """A reply that is asked for; `number` counts the stream's requests from 0."""

    number: int
    tokens: tuple[int, ...]
    pinned: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    max_tokens: int
    stop: tuple[str, ...]
    stop_tokens: frozenset[int]
    slack_s: float


def parse(message: Message, number: int, tokenizer: Tokenizer, vocab: int, context: int) -> Request:
    """Read a `generate` message. Raises StreamError that names the field."""
    options = _options(message.meta)
    tokens, pinned = _prompt(options, tokenizer)
    if max(*tokens, *options.stop_tokens, 0) >= vocab:
        raise StreamError(f"token ids must be below {vocab}", param="tokens")
    if pinned > len(tokens):
        raise StreamError(f"pinned must be at most the {len(tokens)} tokens of the prompt", param="pinned")
    seed = secrets.randbits(64) if options.seed is None else options.seed
    if seed > MAX_SEED:
        raise StreamError(f"seed must be at most {MAX_SEED}", param="seed")
    return Request(
        number,
        tuple(tokens),
        pinned,
        options.temperature,
        options.top_p,
        options.top_k,
        seed,
        options.max_tokens or context,
        options.stop,
        tokenizer.stop_tokens.union(options.stop_tokens),
        message.slack_s,
    )


def _options(meta: Mapping[str, Any]) -> Options:
    try:
        return msgspec.convert(dict(meta), Options)
    except msgspec.ValidationError as error:
        path = re.search(r"`\$\.(.+)`", str(error))
        raise StreamError(f"generate: {error}", param=path[1] if path else None) from error


def _prompt(options: Options, tokenizer: Tokenizer) -> tuple[list[int], int]:
    if bool(options.messages) == bool(options.tokens):
        raise StreamError("generate wants either messages or tokens", param="messages")
    if options.tokens:
        return list(options.tokens), options.pinned
    try:
        return tokenizer.prompt([msgspec.to_builtins(message) for message in options.messages])
    except PromptError as error:
        raise StreamError(str(error), param="messages") from error


class Ended(msgspec.Struct, array_like=True, frozen=True):
    """How a reply ended, with the text held back until then."""

    number: int
    reason: str
    text: str
    usage: dict[str, int]


class Reply:
    """A reply in progress: its tokens so far, and the text that is held back for now."""

    def __init__(self, request: Request, cached: int, tokenizer: Tokenizer) -> None:
        """`cached`: prompt tokens that need no computation."""
        self.request = request
        self.cached = cached
        self.tokens: list[int] = []
        self._detokenizer = Detokenizer(tokenizer)
        self._stops = StopText(request.stop)

    def choice(self, position: int) -> Choice:
        """How the token at `position` of the whole history is chosen."""
        request = self.request
        return Choice(request.temperature, request.top_p, request.top_k, request.seed, position)

    def take(self, token: int) -> tuple[str, str | None]:
        """Add a token that does not end the reply by itself; returns the text it lets go, and why the reply ends
        (None if it goes on).
        """
        self.tokens.append(token)
        text, stopped = self._stops.push(self._detokenizer.push(token))
        if stopped:
            return text, STOP
        return text, LENGTH if len(self.tokens) >= self.request.max_tokens else None

    def end(self, reason: str) -> Ended:
        """End the reply. Usage is in tokens, as the OpenAI protocol counts them."""
        text, stopped = self._stops.push(self._detokenizer.flush())
        if not stopped:
            text += self._stops.flush()
        prompt, completion = len(self.request.tokens), len(self.tokens)
        usage = {
            "prompt_tokens": prompt,
            "cached_tokens": self.cached,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return Ended(self.request.number, reason, text, usage)
