"""Text to tokens and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lm.tokens import INVISIBLE, Detokenizer, PromptError, Tokenizer, load
from tests.models.lm.checkpoints import END


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Tokenizer:
    return load(tiny)


def stream(tokenizer: Tokenizer, tokens: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*map(detokenizer.push, tokens), detokenizer.flush()]


@given(text=st.text(max_size=30))
def test_text_survives_byte_by_byte_and_no_character_is_split(tiny: Path, text: str) -> None:
    tokenizer = load(tiny)
    pieces = stream(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_a_character_comes_with_its_last_byte(tokenizer: Tokenizer) -> None:
    assert stream(tokenizer, tokenizer.encode("é€")) == ["", "é", "", "", "€", ""]
    assert stream(tokenizer, tokenizer.encode("€")[:2]) == ["", "", "\ufffd"]


def test_markup_and_padding_have_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.stop_tokens == {END}
    assert stream(tokenizer, [END, END + 3]) == ["", "", ""]


def test_a_message_cannot_contain_markup(tokenizer: Tokenizer) -> None:
    text = tokenizer.render([{"role": "user", "content": "a<end>b"}])
    assert END not in tokenizer.encode(text)
    assert f"a<{INVISIBLE}end>b" in text


def test_a_template_that_refuses(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    with pytest.raises(PromptError, match="no chat template"):
        load(tmp_path).render([{"role": "user", "content": ""}])
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(PromptError, match="roles must alternate"):
        load(tmp_path).render([{"role": "user", "content": ""}])
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(PromptError, match="unsafe"):
        load(tmp_path).render([{"role": "user", "content": ""}])


def test_smollm2(smollm2_tokenizer: Tokenizer) -> None:
    tokenizer = smollm2_tokenizer
    text = "It's 1234 — naïve 日本 🙂\n\n  def f(x):\treturn x"
    assert "".join(stream(tokenizer, tokenizer.encode(text))) == text
    assert len(tokenizer.encode("1234")) == 4
    assert tokenizer.encode("<|im_start|>user") == [1, *tokenizer.encode("user")]


def test_smollm2s_prompt(smollm2_tokenizer: Tokenizer) -> None:
    """Without instructions its template gives its own."""
    assert smollm2_tokenizer.render([{"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    system = {"role": "system", "content": "Be brief."}
    assert smollm2_tokenizer.render([system, {"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
