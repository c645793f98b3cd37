"""The body of `POST /v1/chat/completions`, and what it asks of the language model."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.errors import ApiError

MAX_STOPS = 16
MAX_TOOLS = 128
SEEDS = 2**64

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TextPart(_Strict, frozen=True, tag_field="type", tag="text"):
    """A part of a message's content; only text is taken."""

    text: str
    prompt_cache_breakpoint: Any = None


class RefusalPart(_Strict, frozen=True, tag_field="type", tag="refusal"):
    """What an assistant said instead of an answer."""

    refusal: str


Text = str | list[TextPart]


class SystemMessage(_Strict, frozen=True, tag_field="role", tag="system"):
    """Instructions."""

    content: Text
    name: str | None = None


class DeveloperMessage(_Strict, frozen=True, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: Text
    name: str | None = None


class UserMessage(_Strict, frozen=True, tag_field="role", tag="user"):
    """What the user said."""

    content: Text
    name: str | None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """`arguments` is JSON text. Clients add fields of their own."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class AssistantMessage(_Strict, frozen=True, tag_field="role", tag="assistant"):
    """What the model said. Clients send it back as they received it, with fields that are null or of no use here."""

    content: str | list[TextPart | RefusalPart] | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    name: str | None = None
    parsed: Any = None
    annotations: Any = None
    audio: None = None
    function_call: None = None


class ToolMessage(_Strict, frozen=True, tag_field="role", tag="tool"):
    """The result of a call."""

    content: Text
    tool_call_id: str


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Function(_Strict, frozen=True, omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON schema. Calls always keep to it, `strict` or not."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Strict, frozen=True):
    """Only functions are tools here."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Strict, frozen=True):
    """Which function."""

    name: str


class NamedTool(_Strict, frozen=True):
    """A tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class TextFormat(_Strict, frozen=True, tag_field="type", tag="text"):
    """Free text."""


class JsonFormat(_Strict, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class Schema(_Strict, frozen=True, omit_defaults=True, rename={"body": "schema"}):
    """A named JSON schema; the answer always keeps to it, `strict` or not."""

    name: Name
    body: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class SchemaFormat(_Strict, frozen=True, tag_field="type", tag="json_schema"):
    """JSON of a schema."""

    json_schema: Schema


class StreamOptions(_Strict, frozen=True):
    """`include_obfuscation` pads events on insecure networks; nothing is padded here."""

    include_usage: bool = False
    include_obfuscation: bool = False


Tokens = Annotated[int, Meta(ge=1)]
Zero = Annotated[float, Meta(ge=0, le=0)]
StopText = Annotated[str, Meta(min_length=1)]


class ChatRequest(_Strict, frozen=True):
    """The body. Fields that could only be obeyed by a change of the answer are refused unless they have no effect;
    those after `Accepted` are about accounts, storage and speed, and ignored.
    """

    model: str
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonFormat | SchemaFormat | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=MAX_STOPS)] | None = None

    n: Literal[1] | None = None
    modalities: list[Literal["text"]] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Meta(max_length=0)] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=0)] | None = None

    # Accepted
    user: Any = None
    store: Any = None
    metadata: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    prediction: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None

    def generate(self) -> dict[str, Any]:
        """Meta of the `generate` message. Raises ApiError on fields that contradict each other."""
        self._check_tools()
        meta: dict[str, Any] = {
            "messages": [_message(message) for message in self.messages],
            "tools": [_tool(tool) for tool in self.tools or []] or None,
            "tool_choice": msgspec.to_builtins(self.tool_choice),
            "response_format": _response_format(self.response_format),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "seed": None if self.seed is None else self.seed % SEEDS,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "stop": [self.stop] if isinstance(self.stop, str) else self.stop,
        }
        return {name: value for name, value in meta.items() if value is not None}

    def _check_tools(self) -> None:
        names = [tool.function.name for tool in self.tools or []]
        if len(names) != len(set(names)):
            raise _invalid("tools", "two functions have the same name")
        if self.tool_choice not in (None, "none", "auto") and not names:
            raise _invalid("tool_choice", "there are no tools to choose from")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            wanted = self.tool_choice.function.name
            raise _invalid("tool_choice.function.name", f"no tool is named {wanted!r}; there are {', '.join(names)}")


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_value", f"{param}: {message}", param)


def _message(message: ChatMessage) -> dict[str, Any]:
    match message:
        case SystemMessage(content=content) | DeveloperMessage(content=content):
            return {"role": "system", "content": _text(content)}
        case UserMessage(content=content):
            return {"role": "user", "content": _text(content)}
        case ToolMessage(content=content, tool_call_id=call):
            return {"role": "tool", "content": _text(content), "tool_call_id": call}
        case AssistantMessage(content=said, tool_calls=calls, refusal=refusal):
            text = _text(said) if said is not None else refusal
            made = {"tool_calls": msgspec.to_builtins(calls)} if calls else {}
            return {"role": "assistant", "content": text, **made}


def _text(content: str | list[TextPart] | list[TextPart | RefusalPart]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def _tool(tool: Tool) -> dict[str, Any]:
    described = msgspec.to_builtins(tool.function)
    described.pop("strict", None)
    return {"type": "function", "function": described}


def _response_format(wanted: TextFormat | JsonFormat | SchemaFormat | None) -> dict[str, Any] | None:
    described: dict[str, Any] | None = msgspec.to_builtins(wanted)
    return described
