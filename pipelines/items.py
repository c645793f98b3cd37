"""Items of a conversation: messages, function calls and their results, in the Realtime protocol's terms."""

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant"]
Status = Literal["in_progress", "completed", "incomplete"]
PartType = Literal["input_text", "input_audio", "output_text", "output_audio"]


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The first `text` characters of a transcript are spoken by the sample `sample` of its audio (24 kHz)."""

    text: int
    sample: int


class Part(msgspec.Struct):
    """Content of a message. `text` of audio is its transcript, None while it is not known."""

    type: PartType
    text: str | None = None
    samples: int = 0
    """Length of spoken audio, 24 kHz."""
    marks: list[Mark] = []


class Message(msgspec.Struct, tag="message"):
    """Something that was said or written."""

    id: str
    role: Role
    content: list[Part]
    status: Status = "completed"


class FunctionCall(msgspec.Struct, tag="function_call"):
    """The model asks for a function; `arguments` is JSON."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Status = "completed"


class FunctionCallOutput(msgspec.Struct, tag="function_call_output"):
    """What a function returned."""

    id: str
    call_id: str
    output: str
    status: Status = "completed"


Item = Message | FunctionCall | FunctionCallOutput
