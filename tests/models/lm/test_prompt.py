"""Prompts of conversations with tools, and of those that outgrow the context."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as TokenizersTokenizer

from models.base import StreamError
from models.lm.calls import LISTED, TAGGED
from models.lm.chat import ChatMessage, Function, FunctionCall, Tool, ToolCall, Truncation
from models.lm.prompt import Prompter
from models.lm.tokens import Tokenizer, load

WEATHER = Tool(Function("weather", "Tells it", {"type": "object", "properties": {"city": {"type": "string"}}}))
CALL = ToolCall(FunctionCall("weather", '{"city": "Rome"}'), "call_1")
TOOL_TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}"
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}"
    "{% for call in message.tool_calls %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Tokenizer:
    return load(tiny)


def text(tokenizer: Tokenizer, tokens: list[int]) -> str:
    return b"".join(map(tokenizer.bytes_of, tokens)).decode()


def turns(count: int) -> list[ChatMessage]:
    """Each turn is 22 tokens long when written."""
    return [
        message
        for number in range(count)
        for message in (ChatMessage("user", f"{number:03}"), ChatMessage("assistant", f"{number:03}."[:2]))
    ]


def test_whole_conversations_that_fit(tokenizer: Tokenizer) -> None:
    messages = [ChatMessage("system", "Be kind."), *turns(2), ChatMessage("user", "Hi")]
    written = text(tokenizer, Prompter(tokenizer, 512).write(messages, [], 10))
    assert written == "system:Be kind.\nuser:000\nassistant:00\nuser:001\nassistant:00\nuser:Hi\nassistant:"


def test_old_turns_are_left_out_at_a_users_message(tokenizer: Tokenizer) -> None:
    """The instructions stay, and the cut stays where it is for several turns."""
    system, last = ChatMessage("system", "Be kind."), ChatMessage("user", "Hi")
    prompter, context, reserve = Prompter(tokenizer, 256), 256, 32
    beginnings = []
    for count in range(1, 40):
        tokens = prompter.write([system, *turns(count), last], [], reserve)
        assert len(tokens) <= context - reserve
        written = text(tokenizer, tokens)
        assert written.endswith("user:Hi\nassistant:")
        beginnings.append(written.removeprefix("system:Be kind.\nuser:")[:3])
    assert beginnings[0] == "000"
    assert beginnings == sorted(beginnings)
    assert 3 < len(set(beginnings)) < len(beginnings) / 2


def test_nothing_is_left_out_where_truncation_is_disabled(tokenizer: Tokenizer) -> None:
    prompter, disabled = Prompter(tokenizer, 256), Truncation("disabled")
    messages = [*turns(2), ChatMessage("user", "Hi")]
    assert prompter.write(messages, [], 10, disabled) == prompter.write(messages, [], 10)
    with pytest.raises(StreamError, match="conversation do not fit into 246 of the context's 256") as caught:
        prompter.write([*turns(30), ChatMessage("user", "Hi")], [], 10, disabled)
    assert caught.value.code == "context_length_exceeded"


def test_share_that_is_retained(tokenizer: Tokenizer) -> None:
    """The size of what is left out is an estimate."""
    prompter, messages = Prompter(tokenizer, 512), [*turns(40), ChatMessage("user", "Hi")]
    retained = [
        Truncation("retention_ratio"),
        Truncation("retention_ratio", 0.5),
        Truncation("retention_ratio", token_limits={"post_instructions": 128}),
        Truncation("retention_ratio", 0.0),
    ]
    whole, half, limited, last = (len(prompter.write(messages, [], 10, truncation)) for truncation in retained)
    assert 280 < whole <= 502
    assert 200 < half < 280
    assert 10 < last < limited < 140
    short = [*turns(2), ChatMessage("user", "Hi")]
    assert prompter.write(short, [], 10, Truncation("retention_ratio", 0.0)) == prompter.write(short, [], 10)


def test_results_stay_with_their_calls(tokenizer: Tokenizer) -> None:
    """A turn is dropped as a whole."""
    turn = [
        ChatMessage("user", "Warm?"),
        ChatMessage("assistant", tool_calls=(CALL,)),
        ChatMessage("tool", "18 degrees", tool_call_id="call_1"),
        ChatMessage("assistant", "Yes."),
    ]
    written = text(tokenizer, Prompter(tokenizer, 300).write([*turn * 4, ChatMessage("user", "Hi")], [], 10))
    assert written.startswith("user:")
    assert written.count("<tool_response>") == written.count("<tool_call>") < 4


@pytest.mark.parametrize("content", ["x" * 300, "x" * 100_000])
def test_a_last_turn_that_does_not_fit(tokenizer: Tokenizer, content: str) -> None:
    with pytest.raises(StreamError, match="do not fit into 246 of the context's 256") as caught:
        Prompter(tokenizer, 256).write([*turns(3), ChatMessage("user", content)], [], 10)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def test_a_template_without_tools(tokenizer: Tokenizer) -> None:
    messages = [
        ChatMessage("system", "Be kind."),
        ChatMessage("user", "Warm?"),
        ChatMessage("assistant", "Let me see. ", tool_calls=(CALL,)),
        ChatMessage("tool", "18 degrees", tool_call_id="call_1"),
    ]
    prompter = Prompter(tokenizer, 4096)
    assert prompter.format is LISTED
    written = text(tokenizer, prompter.write(messages, [WEATHER], 10))
    assert written.startswith("system:Be kind.\n\nYou have access to the following tools:\n<tools>\n")
    assert '"name": "weather", "description": "Tells it", "parameters": {"type": "object"' in written
    assert written.endswith(
        "user:Warm?\nassistant:Let me see. "
        '<tool_call>[{"name": "weather", "arguments": {"city": "Rome"}}]</tool_call>\n'
        "tool:<tool_response>\n18 degrees\n</tool_response>\nassistant:"
    )
    without = text(tokenizer, prompter.write([ChatMessage("user", "Hi")], [WEATHER], 10))
    assert without.startswith("system:You are a helpful assistant.\n\nYou have access")


def test_a_template_with_tools(tiny: Path, tmp_path: Path) -> None:
    """It is given tools and calls as they are; its mark may be a token of its own."""
    raw = TokenizersTokenizer.from_file(str(tiny / "tokenizer.json"))
    raw.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    raw.save(str(tmp_path / "tokenizer.json"))
    settings = {"chat_template": TOOL_TEMPLATE, "eos_token": "<end>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load(tmp_path)
    prompter = Prompter(tokenizer, 4096)
    assert prompter.format is TAGGED
    messages = [
        ChatMessage("user", "Warm?"),
        ChatMessage("assistant", tool_calls=(CALL,)),
        ChatMessage("tool", "18<end>", tool_call_id="call_1"),
    ]
    written = text(tokenizer, prompter.write(messages, [WEATHER], 10))
    tool: dict[str, Any] = json.loads(written[: written.index("[user]")])
    assert tool["function"]["name"] == "weather"
    call = '{"name": "weather", "arguments": {"city": "Rome"}}'
    wanted = f"[user]Warm?[assistant]<tool_call>\n{call}\n</tool_call>[tool]18<\u2060end>[assistant]"
    assert written[written.index("[user]") :] == wanted
