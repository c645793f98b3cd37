"""How a model writes function calls: between <tool_call> tags, as JSON objects of a name and arguments."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.lm.chat import FunctionCall, Tool
from models.lm.text import overlap

MARK = "<tool_call>"
"""What calls begin with; no other text contains it."""
MAX_CALLS = 8
"""Most calls of one reply."""
HEAD, TAIL = re.compile(r'\{"name": "([^"]+)", "arguments": '), "}"


def head(name: str) -> str:
    """What stands before a call's arguments."""
    return f'{{"name": "{name}", "arguments": '


@dataclass(frozen=True)
class CallFormat:
    """What stands before, between and after calls."""

    name: str
    opening: str
    between: str
    closing: str

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """Calls as the model would have written them."""
        written = [f"{head(call.name)}{call.arguments}{TAIL}" for call in calls]
        return f"{self.opening}{self.between.join(written)}{self.closing}"


LISTED = CallFormat("listed", f"{MARK}[", ", ", "]</tool_call>")
"""All calls in one list, as SmolLM2 was taught."""
TAGGED = CallFormat("tagged", f"{MARK}\n", f"\n</tool_call>\n{MARK}\n", "\n</tool_call>")
"""Each call in tags of its own, as Qwen2.5 was taught."""
FORMATS = {form.name: form for form in (LISTED, TAGGED)}


def instructions(tools: Sequence[Tool], form: CallFormat) -> str:
    """What a model is told about tools if its template has no place for them."""
    listed = "\n".join(json.dumps(describe(tool), ensure_ascii=False) for tool in tools)
    example = form.write([FunctionCall("function_name", '{"argument": "value"}')])
    return (
        f"You have access to the following tools:\n<tools>\n{listed}\n</tools>\n"
        f"To use them, answer with nothing but the calls, in this format:\n{example}\n"
        "If no tool is needed, answer in plain words."
    )


def describe(tool: Tool) -> dict[str, object]:
    """A tool as templates and models expect it."""
    function = tool.function
    described: dict[str, object] = {"name": function.name}
    if function.description:
        described["description"] = function.description
    described["parameters"] = function.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": described}


@dataclass(frozen=True)
class CallPiece:
    """A piece of call `index`'s arguments; the first one has the function's name."""

    index: int
    name: str | None
    arguments: str


class CallReader:
    """Tells text from calls in a reply that follows the grammar of its tools."""

    def __init__(self) -> None:
        self.count = 0
        """Calls begun so far."""
        self._held = ""
        self._calling = False
        self._arguing = False
        self._depth = 0
        self._string = False
        self._escaped = False

    def push(self, text: str) -> tuple[str, list[CallPiece]]:
        """Take more of the reply; returns what of it is text and what are calls."""
        self._held += text
        shown = "" if self._calling else self._text()
        return shown, self._calls() if self._calling else []

    def flush(self) -> str:
        """No more comes: text that was held back."""
        held, self._held = self._held, ""
        return "" if self._calling else held

    def _text(self) -> str:
        before, mark, after = self._held.partition(MARK)
        if mark:
            self._calling, self._held = True, after
            return before
        at = len(self._held) - overlap(self._held, MARK)
        shown, self._held = self._held[:at], self._held[at:]
        return shown

    def _calls(self) -> list[CallPiece]:
        pieces = []
        while self._held:
            name = None
            if not self._arguing:
                head = HEAD.search(self._held)
                if head is None:
                    break
                name, self._held = head[1], self._held[head.end() :]
                self._arguing = True
                self.count += 1
            pieces.append(CallPiece(self.count - 1, name, self._arguments()))
        return pieces

    def _arguments(self) -> str:
        """What is held of the arguments in progress, which are an object."""
        end = len(self._held)
        for at, character in enumerate(self._held):
            if self._string:
                self._string = character != '"' or self._escaped
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self._arguing, end = False, at + 1
                    break
        arguments, self._held = self._held[:end], self._held[end:]
        return arguments
