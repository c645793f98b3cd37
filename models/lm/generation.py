"""What a stream asks of a language model, a reply, and what it is told."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from models.base import StreamError
from models.lm.calls import CallPiece
from models.lm.chat import ChatMessage, ResponseFormat, Tool, ToolChoice, Truncation

STOP, LENGTH, TOOL_CALLS, CANCELLED, FAILED = "stop", "length", "tool_calls", "cancelled", "failed"
"""Why a reply ended."""
MAX_STOPS = 16
Error = dict[str, str | None]
"""{"code", "message", "param"}."""
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenId = Annotated[int, Meta(ge=0)]


class Sampling(msgspec.Struct, array_like=True, frozen=True):
    """How tokens are chosen: fields of `Options` and of `sampling.Choice`."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0


UNBIASED = Sampling()
"""The model's own distribution."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Meta of a `generate` message.

    The prompt is either `messages` or `tokens`, of which the first `pinned` outlive any overflow of the context.
    Without `seed` one is drawn; rules of sampling that are not given are the model's.
    """

    messages: tuple[ChatMessage, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    response_format: ResponseFormat = ResponseFormat()
    truncation: Truncation = Truncation()
    tokens: tuple[TokenId, ...] = ()
    pinned: Annotated[int, Meta(ge=0)] = 0
    temperature: Annotated[float, Meta(ge=0, le=10)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None
    max_tokens: Annotated[int, Meta(gt=0)] | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=MAX_STOPS)] = ()
    stop_tokens: tuple[TokenId, ...] = ()


def sampling(asked: Options, default: Sampling) -> Sampling:
    """What is asked for, and the default for the rest."""
    given = {name: value for name in Sampling.__struct_fields__ if (value := getattr(asked, name)) is not None}
    return msgspec.structs.replace(default, **given)


def options(meta: Mapping[str, Any]) -> Options:
    """Read the meta of a `generate` message. Raises StreamError that names the field."""
    try:
        return msgspec.convert(dict(meta), Options)
    except msgspec.ValidationError as error:
        path = re.search(r"`\$\.(.+)`", str(error))
        raise StreamError(f"generate: {error}", param=path[1] if path else None) from error


class Event(msgspec.Struct, array_like=True, frozen=True):
    """An output in the making."""

    kind: str
    meta: dict[str, Any]


def usage(prompt: int = 0, cached: int = 0, completion: int = 0) -> dict[str, int]:
    """Tokens, as the OpenAI protocol counts them."""
    return {"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": completion}


def done(number: int, reason: str, text: str, counts: Mapping[str, int], error: Error | None = None) -> Event:
    """The end of a reply."""
    return Event("done", {"number": number, "reason": reason, "text": text, "usage": counts, "error": error})


def failed(number: int, error: StreamError) -> Event:
    """The end of a request that cannot be served."""
    return done(number, FAILED, "", usage(), described(error))


def described(error: StreamError) -> Error:
    """An error as `done` tells it."""
    return {"code": error.code, "message": str(error), "param": error.param}


def call(number: int, piece: CallPiece) -> Event:
    """A piece of a function call."""
    return Event("call", {"number": number, **asdict(piece)})
