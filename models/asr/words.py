"""From byte-pair tokens to words."""

import unicodedata
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_LANGUAGES_WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})


class Word(NamedTuple):
    """A word with the space before it and the punctuation around it, if any."""

    text: str
    tokens: tuple[int, ...]


class TimedWord(NamedTuple):
    """A word, its samples [start, end), and how probable it is."""

    text: str
    start: int
    end: int
    probability: float


def split_words(tokens: Sequence[int], language: str, decode: Callable[[Sequence[int]], str]) -> list[Word]:
    """Group tokens into words; every token is in one, in order.

    A word begins with a space, or in languages written without spaces with every character that is not punctuation.
    """
    words: list[Word] = []
    for piece in _characters(tokens, decode):
        joins = _is_punctuation(piece.text) if language in _LANGUAGES_WITHOUT_SPACES else piece.text[:1] != " "
        if words and joins:
            last = words[-1]
            words[-1] = Word(last.text + piece.text, last.tokens + piece.tokens)
        else:
            words.append(piece)
    return words


def _characters(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[Word]:
    """The shortest runs of tokens that are whole characters: one token may hold only some bytes of a character."""
    pieces: list[Word] = []
    run: list[int] = []
    for position, token in enumerate(tokens, start=1):
        run.append(token)
        text = decode(run)
        if _INCOMPLETE not in text or position == len(tokens):
            pieces.append(Word(text, tuple(run)))
            run = []
    return pieces


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(character).startswith(("P", "Z")) for character in text)


def time_words(
    words: Sequence[Word], samples: Sequence[int], probabilities: Sequence[float], start: int, end: int
) -> list[TimedWord]:
    """Place words, in order and within samples [start, end), which may cut their ends.

    `samples` from `start` on: where each token starts, then where the last one ends; `probabilities`: one per token.
    """
    timed: list[TimedWord] = []
    token, begin = 0, start
    for word in words:
        following = token + len(word.tokens)
        begin = min(max(begin, start + samples[token]), end)
        until = min(max(begin, start + samples[following]), end)
        timed.append(TimedWord(word.text.strip(), begin, until, fmean(probabilities[token:following])))
        token, begin = following, until
    return timed
