"""Function calls in the text of a reply."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lm.calls import FORMATS, LISTED, CallFormat, CallReader
from models.lm.chat import FunctionCall

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["a", "get_weather", "x-1"]), ARGUMENTS), min_size=1, max_size=3)


def read(text: str, random: Random) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls of a reply that comes in pieces of random length."""
    reader, said, calls = CallReader(), "", list[tuple[str, str]]()
    while text:
        size = random.randint(1, 12)
        shown, pieces = reader.push(text[:size])
        said, text = said + shown, text[size:]
        for piece in pieces:
            if piece.name is not None:
                assert piece.index == len(calls)
                calls.append((piece.name, ""))
            assert piece.index == len(calls) - 1
            calls[-1] = (calls[-1][0], calls[-1][1] + piece.arguments)
    return said + reader.flush(), calls


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
@given(said=st.text(max_size=10).map(lambda text: text.replace("<", "")), calls=CALLS, seed=st.integers(0, 999))
def test_what_is_written_is_read(form: CallFormat, said: str, calls: list[tuple[str, object]], seed: int) -> None:
    written = [(name, json.dumps(arguments, ensure_ascii=False)) for name, arguments in calls]
    text = said + form.write([FunctionCall(name, arguments) for name, arguments in written])
    assert read(text, Random(seed)) == (said, written)


@given(seed=st.integers(0, 99))
def test_text_that_resembles_a_call(seed: int) -> None:
    text = 'a <tool and <tool_cal> {"name": "x"} <tool_c'
    assert read(text, Random(seed)) == (text, [])


def test_arguments_come_as_they_are_written() -> None:
    reader = CallReader()
    pieces = [
        reader.push(text)[1] for text in (LISTED.opening, '{"name": "f", "argu', 'ments": {"a', '": "}', '"}', "}]")
    ]
    assert [[(piece.name, piece.arguments) for piece in group] for group in pieces] == [
        [],
        [],
        [("f", '{"a')],
        [(None, '": "}')],
        [(None, '"}')],
        [],
    ]
