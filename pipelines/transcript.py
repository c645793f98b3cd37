"""Items of speech, made of segments that one recogniser window can hold, and the text that becomes of them."""

import re
import string
from itertools import pairwise
from typing import NamedTuple

import msgspec

from pipelines.turns import SAMPLE_RATE_HZ

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "bo", "yue"})
"""Languages written without spaces between words."""


class Word(NamedTuple):
    """A word and when it was said, in samples since the session began."""

    text: str
    start: int
    end: int
    probability: float


class Token(NamedTuple):
    """A token of the recogniser and its log-probability."""

    text: str
    logprob: float


class Final(msgspec.Struct, frozen=True):
    """The accurate text of a segment."""

    text: str = ""
    language: str | None = None
    words: list[Word] = []
    tokens: list[Token] = []
    avg_logprob: float = 0.0
    no_speech: float = 0.0


class Segment(msgspec.Struct):
    """A stretch of audio, [start, end) in samples of the stream, that is recognised at once."""

    id: int
    start: int
    speech: int | None = None
    """End of its first frame of speech."""
    requested: int | None = None
    """End of the stretch whose final text has been asked for."""
    closed: bool = False
    """Whether its end is settled: no more audio can join it."""
    final: Final | None = None
    partial: str = ""
    heard: int = 0
    """End of the audio that `partial` was made of."""
    emitted: str = ""

    @property
    def settled(self) -> bool:
        """Whether its text is final."""
        return self.closed and self.final is not None


class Item(msgspec.Struct):
    """What becomes one message of the conversation: a turn, or a committed buffer."""

    id: str
    start: int
    segments: list[Segment]
    end: int | None = None
    """Set once the item is closed."""
    transcribed: bool = False
    """Whether its text was wanted when it was closed."""

    @property
    def settled(self) -> bool:
        """Whether its whole text is final."""
        return self.end is not None and all(segment.settled for segment in self.segments)

    def new_text(self) -> str:
        """Text that has become certain and was not returned before. What was returned is never taken back.

        Where a final text words differently what was returned, it goes on after the words that stand for it.
        """
        delta = ""
        for index, segment in enumerate(self.segments):
            certain = segment.final.text if segment.settled and segment.final else segment.partial
            told = segment.emitted or (_told_before(self.segments[index - 1], certain) if index else "")
            if segment.settled and segment.final and not certain.startswith(told):
                told = _told_as(told, certain, segment.final.language)
            if certain.startswith(told) and certain != told:
                delta += ("" if told else self._separator(segment)) + certain[len(told) :]
                segment.emitted = certain
            if not segment.settled:
                break
        return delta

    def _separator(self, segment: Segment) -> str:
        before = [other for other in self.segments if other.id <= segment.id and other.emitted]
        if not before:
            return ""
        return separator(before[-1].final)

    def finals(self) -> list[tuple[Segment, Final]]:
        """Segments that have text, with it."""
        return [(segment, segment.final) for segment in self.segments if segment.final and segment.final.text]


def _told_before(before: Segment, text: str) -> str:
    """The beginning of a segment's text that is known to have been returned with the segment before it.

    A segment may be cut in speech at a moment before the end of the audio that its partial text was made of.
    """
    if before.final is None or before.requested is None or before.heard <= before.requested:
        return ""
    language = before.final.language
    surplus = len(_word_ends(before.emitted, language)) - len(_word_ends(before.final.text, language))
    return _first_words(text, surplus, language)


def _told_as(told: str, text: str, language: str | None) -> str:
    """The beginning of `text` that says what `told` said, up to the letter where `told` breaks off.

    Words are aligned at the least edit distance, whatever their case and punctuation.
    """
    bounds = [0, *_word_ends(text, language)]
    words = [_bare(text[begin:end]) for begin, end in pairwise(bounds)]
    spoken = [_bare(told[begin:end]) for begin, end in pairwise([0, *_word_ends(told, language)])]
    spoken = [word for word in spoken if word]
    begun = [False, *(bool(spoken) and word.startswith(spoken[-1]) for word in words)]
    costs = _edit_costs(spoken, words)
    count = min(range(len(bounds)), key=lambda count: (costs[count], not begun[count], abs(count - len(spoken))))
    end = bounds[count]
    if begun[count]:
        begin = bounds[count - 1]
        end = next((end for end in range(begin, end) if _bare(text[begin:end]) == spoken[-1]), end)
        marks = len(told) - len(told.rstrip(string.punctuation))
        end += len(text[end : end + marks]) - len(text[end : end + marks].lstrip(string.punctuation))
    return text[:end]


def _edit_costs(spoken: list[str], words: list[str]) -> list[int]:
    """Insertions, deletions and substitutions from `spoken`, whose last word may be cut off, to the first 0, 1, 2, ...
    of `words`.
    """
    costs = list(range(len(words) + 1))
    for row, word in enumerate(spoken, start=1):
        diagonal, costs[0] = costs[0], row
        for column, other in enumerate(words, start=1):
            same = other.startswith(word) if row == len(spoken) else other == word
            diagonal, costs[column] = (
                costs[column],
                min(diagonal + (not same), costs[column] + 1, costs[column - 1] + 1),
            )
    return costs


def _bare(word: str) -> str:
    """Its letters and digits alone, in one case."""
    return "".join(character for character in word.casefold() if character.isalnum())


def _first_words(text: str, count: int, language: str | None) -> str:
    """The beginning of a text up to the end of its word number `count`, or all of it if it has fewer."""
    ends = _word_ends(text, language)
    return text[: ends[min(count, len(ends)) - 1]] if count > 0 and ends else ""


def _word_ends(text: str, language: str | None) -> list[int]:
    """Where each word ends; without spaces between words, each character."""
    return [word.end() for word in re.finditer(r"\w" if language in _UNSPACED else r"\S+", text)]


def separator(after: Final | None) -> str:
    """What stands between the text of a segment and the next."""
    return "" if after is not None and after.language in _UNSPACED else " "


def join(finals: list[Final]) -> str:
    """The text of consecutive segments."""
    text = ""
    for index, final in enumerate(finals):
        text += (separator(finals[index - 1]) if index else "") + final.text
    return text


def seconds(samples: int) -> float:
    """Media time of a number of samples."""
    return samples / SAMPLE_RATE_HZ
