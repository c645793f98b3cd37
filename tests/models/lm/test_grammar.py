"""Which replies a request allows."""

from pathlib import Path
from typing import Any

import pytest

from models.base import StreamError
from models.lm import grammar
from models.lm.calls import LISTED, TAGGED, CallFormat
from models.lm.chat import Function, FunctionReference, NamedTool, ResponseFormat, Tool, ToolChoice
from models.lm.constraint import GrammarError, Grammars
from models.lm.tokens import Tokenizer, load
from tests.models.lm.checkpoints import END, VOCAB

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [Tool(Function("weather", parameters=CITY)), Tool(Function("hang_up"))]
NAMED = NamedTool(FunctionReference("weather"))
WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
HANG_UP = '{"name": "hang_up", "arguments": {}}'
BOTH = {
    LISTED: f"<tool_call>[{WEATHER}, {HANG_UP}]</tool_call>",
    TAGGED: f"<tool_call>\n{WEATHER}\n</tool_call>\n<tool_call>\n{HANG_UP}\n</tool_call>",
}
ONE = {LISTED: f"<tool_call>[{WEATHER}]</tool_call>", TAGGED: f"<tool_call>\n{WEATHER}\n</tool_call>"}


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Tokenizer:
    return load(tiny)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, VOCAB)


def allows(grammars: Grammars, tokenizer: Tokenizer, text: str, grammar: str) -> bool:
    """Whether a whole reply follows the grammar, token by token."""
    constraint = grammars.constraint(grammar)
    for token in tokenizer.encode(text):
        if not grammars.allowed({0: constraint}, 1)[0, token]:
            return False
        constraint.take(token)
    return bool(grammars.allowed({0: constraint}, 1)[0, END])


def written(choice: ToolChoice, form: CallFormat = LISTED, answer: dict[str, Any] | None = None) -> str:
    chosen = grammar.chosen_tools(TOOLS, choice)
    text = grammar.write(answer, grammar.argument_schemas(TOOLS, chosen), choice, form)
    assert text is not None
    return text


@pytest.mark.parametrize("form", [LISTED, TAGGED], ids=lambda form: form.name)
@pytest.mark.parametrize(
    ("choice", "text", "one", "both", "after_text"),
    [
        ("auto", True, True, True, True),
        ("required", False, True, True, False),
        (NAMED, False, True, False, False),
        ("none", True, False, False, False),
    ],
    ids=["auto", "required", "named", "none"],
)
def test_choices(
    grammars: Grammars,
    tokenizer: Tokenizer,
    form: CallFormat,
    choice: ToolChoice,
    text: bool,
    one: bool,
    both: bool,
    after_text: bool,
) -> None:
    rules = written(choice, form)
    assert allows(grammars, tokenizer, "It is <warm>.\nÄ €", rules) == text
    assert allows(grammars, tokenizer, ONE[form], rules) == one
    assert allows(grammars, tokenizer, BOTH[form], rules) == both
    assert allows(grammars, tokenizer, "I will look. " + ONE[form], rules) == after_text
    assert not allows(grammars, tokenizer, ONE[form] + " and", rules)


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "nobody", "arguments": {}}',
        '{"name": "weather", "arguments": {}}',
        '{"name": "weather", "arguments": {"city": 3}}',
        '{"name": "weather", "arguments": {"city": "Rome", "more": 1}}',
        '{"name": "weather",  "arguments": {"city": "Rome"}}',
        '{"name": "hang_up", "arguments": {"city": "Rome"}}',
    ],
)
def test_calls_that_are_impossible(grammars: Grammars, tokenizer: Tokenizer, call: str) -> None:
    assert not allows(grammars, tokenizer, f"<tool_call>[{call}]</tool_call>", written("auto"))


def test_json(grammars: Grammars, tokenizer: Tokenizer) -> None:
    answer = grammar.answer_schema(ResponseFormat("json_object"))
    rules = grammar.write(answer, {}, "auto", LISTED)
    assert rules is not None
    assert allows(grammars, tokenizer, '{"a": [1, "ü"]}', rules)
    assert not allows(grammars, tokenizer, "[1]", rules)
    assert not allows(grammars, tokenizer, "Sure: {}", rules)
    with_tools = written("auto", answer=dict(answer or {}))
    assert allows(grammars, tokenizer, '{"a": 1}', with_tools)
    assert allows(grammars, tokenizer, ONE[LISTED], with_tools)
    assert not allows(grammars, tokenizer, "text", with_tools)


def test_text_without_tools_is_free() -> None:
    assert grammar.write(None, {}, "auto", LISTED) is None


@pytest.mark.parametrize("extra", [{"patternProperties": {"^x": {}}}, {"required": ["city", "unlisted"]}])
def test_schemas_that_allow_more_stay_open(grammars: Grammars, tokenizer: Tokenizer, extra: dict[str, Any]) -> None:
    tools = [Tool(Function("f", parameters={**CITY, **extra}))]
    rules = grammar.write(None, grammar.argument_schemas(tools, tools), "required", LISTED) or ""
    text = '<tool_call>[{"name": "f", "arguments": {"city": "", "unlisted": 1, "x": 2}}]</tool_call>'
    assert allows(grammars, tokenizer, text, rules)


def test_unimplemented_keywords_are_passed_by_unless_strict(grammars: Grammars) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": "colour"}}}
    for strict in (False, True):
        tools = [Tool(Function("f", parameters=schema, strict=strict))]
        rules = grammar.write(None, grammar.argument_schemas(tools, tools), "auto", LISTED) or ""
        if strict:
            with pytest.raises(GrammarError, match="colour"):
                grammars.constraint(rules)
        else:
            grammars.constraint(rules)


def test_schemas_that_are_too_large_together(grammars: Grammars) -> None:
    """Other streams wait while a grammar is compiled."""
    large = {"properties": {f"property {index}": {"type": "string"} for index in range(900)}}
    tools = [Tool(Function(f"f{index}", parameters=large)) for index in range(8)]
    rules = grammar.write(None, grammar.argument_schemas(tools, tools), "auto", LISTED) or ""
    with pytest.raises(GrammarError, match="at most 131072"):
        grammars.constraint(rules)


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ([], "required", "tool_choice"),
        (TOOLS, NamedTool(FunctionReference("nobody")), "tool_choice.function.name"),
        ([*TOOLS, TOOLS[0]], "auto", "tools[2].function.name"),
        ([Tool(Function(f"f{index}")) for index in range(129)], "auto", "tools"),
    ],
)
def test_choices_that_make_no_sense(tools: list[Tool], choice: ToolChoice, param: str) -> None:
    with pytest.raises(StreamError) as caught:
        grammar.chosen_tools(tools, choice)
    assert caught.value.param == param
