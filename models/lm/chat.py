"""What a conversation consists of: messages, tools and the wanted form of the answer, as OpenAI's chat completions have
them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
MAX_TOOLS = 128


class FunctionCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an assistant called; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call within an assistant's message."""

    function: FunctionCall
    id: str = ""
    type: Literal["function"] = "function"


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation. Only an assistant that calls tools may say nothing."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"only an assistant's message has tool_calls, not one of role {self.role!r}")
        if self.content is None and not self.tool_calls:
            raise ValueError("content is missing")


class Truncation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out of a conversation that does not fit: old turns, so many that some room is won (`auto`), so many
    that `retention_ratio` of what would fit remains, or nothing (`disabled`). As in the Realtime protocol.
    """

    type: Literal["auto", "disabled", "retention_ratio"] = "auto"
    retention_ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    token_limits: dict[Literal["post_instructions"], Annotated[int, Meta(ge=0)]] | None = None

    @property
    def limit(self) -> int | None:
        """Most tokens of the conversation, whatever the context has room for."""
        return (self.token_limits or {}).get("post_instructions")


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function that may be called; `parameters` is a JSON schema, None for a function without parameters."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool; all tools are functions."""

    function: Function
    type: Literal["function"] = "function"


class FunctionReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a function."""

    name: str


class NamedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one tool that must be called."""

    function: FunctionReference
    type: Literal["function"] = "function"


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class JsonSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of an answer; without `strict`, keywords that cannot be enforced are passed by."""

    name: str = ""
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the answer is text or JSON."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    def __post_init__(self) -> None:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type 'json_schema'")
