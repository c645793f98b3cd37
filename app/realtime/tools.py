"""Tools and their choice between the protocol and chat completions."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
MAX_TOOLS = 128


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="function"):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Name
    description: Annotated[str, Meta(max_length=10_000)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionChoice(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The function that must be called."""

    type: Literal["function"]
    name: Name


Tools = Annotated[list[FunctionTool], Meta(max_length=MAX_TOOLS)]
ToolChoice = Literal["auto", "none", "required"] | FunctionChoice


def chat_tools(tools: list[FunctionTool]) -> list[dict[str, Any]]:
    """Tools as chat completions have them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def chat_choice(choice: ToolChoice) -> str | dict[str, Any]:
    """A choice as chat completions have it."""
    if isinstance(choice, FunctionChoice):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def choice_problem(choice: ToolChoice, tools: list[FunctionTool]) -> str | None:
    """Why the choice cannot be made, if so. Without tools there is nothing to choose, whatever is required."""
    if isinstance(choice, FunctionChoice) and choice.name not in {tool.name for tool in tools}:
        return f"no tool has the name {choice.name!r}"
    return None
