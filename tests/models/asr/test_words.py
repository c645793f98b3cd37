"""Words out of tokens, and their times."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from models.asr.words import Word, split_words, time_words

PIECES = {
    0: b" And",
    1: b" cold",
    2: b"-",
    3: b"hearted",
    4: b",",
    5: b" \xe2\x80\x9c",
    6: b"Hi",
    7: b"\xe2",
    8: b"\x80\x9d",
}


def decode(tokens: Sequence[int]) -> str:
    return b"".join(PIECES[token] for token in tokens).decode(errors="replace")


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


def test_a_word_begins_with_a_space_and_keeps_its_punctuation() -> None:
    words = split_words([0, 1, 2, 3, 4, 5, 6], "en", decode)
    assert words == [(" And", (0,)), (" cold-hearted,", (1, 2, 3, 4)), (" “Hi", (5, 6))]


def test_bytes_of_one_character_stay_together() -> None:
    words = split_words([6, 7, 8, 4, 0], "en", decode)
    assert words == [("Hi”,", (6, 7, 8, 4)), (" And", (0,))]


def test_a_character_that_never_ends_is_kept_as_it_is() -> None:
    assert split_words([0, 7], "en", decode) == [(" And\N{REPLACEMENT CHARACTER}", (0, 7))]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "今天天气很好。你好", ["今", "天", "天", "气", "很", "好。", "你", "好"]),
        ("de", " Schöne Grüße, Ærø!", [" Schöne", " Grüße,", " Ærø!"]),
        ("hi", " नमस्ते दुनिया", [" नमस्ते", " दुनिया"]),
    ],
)
def test_real_tokens_in_other_scripts(
    checkpoint: Callable[[str], Path], language: str, text: str, expected: list[str]
) -> None:
    tokenizer = Tokenizer.from_file(str(checkpoint("whisper-base") / "tokenizer.json"))
    tokens = tokenizer.encode(text, add_special_tokens=False).ids

    words = split_words(tokens, language, tokenizer.decode)

    if language == "zh":
        assert "".join(texts(words)) == "".join(expected)
        assert all(len(word.text.rstrip("。")) <= 2 for word in words)
    else:
        assert texts(words) == expected


@given(st.lists(st.sampled_from(sorted(PIECES)), max_size=20), st.sampled_from(["en", "ja"]))
def test_no_token_is_lost_or_moved(tokens: list[int], language: str) -> None:
    words = split_words(tokens, language, decode)
    assert [token for word in words for token in word.tokens] == tokens
    assert all(word.tokens for word in words)


def test_times_and_probabilities_of_words() -> None:
    words = [Word(" one", (1,)), Word(" two-", (2, 3)), Word(" three.", (4,))]

    timed = time_words(words, [0, 3_200, 6_400, 8_000, 9_600], [0.5, 1.0, 0.5, 0.25], 16_000, 32_000)

    assert timed == [
        ("one", 16_000, 19_200, 0.5),
        ("two-", 19_200, 24_000, 0.75),
        ("three.", 24_000, 25_600, 0.25),
    ]


@given(st.lists(st.integers(0, 50_000), min_size=5, max_size=5), st.integers(0, 10_000), st.integers(0, 40_000))
def test_times_are_ordered_and_within_the_segment(samples: list[int], start: int, length: int) -> None:
    words = [Word(" a", (1,)), Word(" b", (2, 3)), Word(" c", (4,))]

    timed = time_words(words, samples, [1.0] * 4, start, start + length)

    places = [place for word in timed for place in (word.start, word.end)]
    assert places == sorted(places)
    assert start <= places[0]
    assert places[-1] <= start + length
