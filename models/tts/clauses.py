"""Cuts text into clauses while it arrives: each as soon as it is certain to be one, the first ones short.

Decisions are made left to right, on what has been read: however the text is cut into pieces, its clauses are the same.
"""

import re
from typing import NamedTuple

from models.tts.english import ENGLISH

MAX_CLAUSE_CHARS = 120
"""A clause is never longer, so that a step stays short and its phonemes fit the network."""

ABBREVIATIONS = frozenset(ENGLISH.stops.split()) | ENGLISH.abbreviations.keys()
"""Words whose full stop does not end a sentence."""
LINKS = frozenset(ENGLISH.links.split())
"""Words in front of which a clause without punctuation is best cut."""

_TOKEN = re.compile(r"\S+")
_FOLLOWING = re.compile(r"\s+\S")
_CLOSERS = "\"')]}*_’”»`"
_ENDS = ".!?…"
_PAUSES = ",;:—–"
_DASHES = frozenset({"-", "–", "—", "--"})
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")


class Stage(NamedTuple):
    """How long a clause may be: cut at a comma from `least` words on, without one at `most`, unless punctuation comes
    within `reach` more words.
    """

    least: int
    most: int
    reach: int


STAGES = (Stage(2, 5, 2), Stage(4, 10, 3), Stage(6, 16, 3))
"""Of the first, the second and all later clauses: audio starts early, and each lasts while the next is made."""


class ClauseSplitter:
    """Text in, clauses out; they concatenate to the text. Each ends with its last word's punctuation: the white space
    that follows belongs to the next.
    """

    def __init__(self, text: str = "", emitted: int = 0) -> None:
        """Go on after `emitted` clauses with `text` unread."""
        self.text = text
        self.emitted = emitted

    def push(self, text: str) -> list[str]:
        """The clauses that `text` completes."""
        self.text += text
        return self._cut(ended=False)

    def flush(self) -> list[str]:
        """Everything that is left, as clauses; the last may be white space only."""
        clauses = self._cut(ended=True)
        if self.text:
            clauses.append(self.text)
            self.text = ""
        return clauses

    def _cut(self, ended: bool) -> list[str]:
        clauses = []
        start = 0
        while end := _end(self.text, start, STAGES[min(self.emitted, len(STAGES) - 1)], ended):
            clauses.append(self.text[start:end])
            start = end
            self.emitted += 1
        self.text = self.text[start:]
        return clauses


def _end(text: str, start: int, stage: Stage, ended: bool) -> int | None:
    """Where the clause that begins at `start` ends; None if that is not certain yet."""
    limit = start + MAX_CLAUSE_CHARS
    ends: list[int] = []
    words: list[str] = []
    for token in _TOKEN.finditer(text, start):
        if token.end() > limit:
            return ends[-1] if ends else limit
        following = _FOLLOWING.match(text, token.end(), limit + 1)
        if following is None and len(text) <= limit and not (ended and not text[token.end() :].strip()):
            return None
        ends.append(token.end())
        words.append(token[0])
        if following is None or _closes(words, following[0], stage.least):
            return token.end()
        if len(words) == stage.most + stage.reach:
            return ends[_best_cut(words, stage.most) - 1]
    return limit if len(text) > limit else None


def _closes(words: list[str], following: str, least: int) -> bool:
    """Whether a clause ends with the last of `words`."""
    word = words[-1]
    bare = word.rstrip(_CLOSERS)
    resumes = following[-1].islower()
    if "\n" in following and (following.count("\n") > 1 or not resumes):
        return True
    if bare.endswith(tuple(_ENDS)) and not resumes and not _goes_on(bare, words):
        return True
    pauses = bare.endswith(tuple(_ENDS + _PAUSES)) or word in _DASHES or word.endswith(")")
    return pauses and len(words) >= least and not _goes_on(bare, words)


def _goes_on(bare: str, words: list[str]) -> bool:
    """Whether the full stop belongs to the word: an abbreviation, initials, the number of a list's item."""
    if not bare.endswith("."):
        return False
    stem = bare.lstrip("(['\"“‘*_")
    if stem[:-1].lower() in ABBREVIATIONS or (_INITIALS.fullmatch(stem) and stem != "I."):
        return True
    return stem[:-1].isdigit() and len(words) == 1


def _best_cut(words: list[str], most: int) -> int:
    """How many of `words` to keep in a clause without punctuation: up to a linking word in its second half."""
    links = [
        count
        for count in range(most // 2, most + 1)
        if words[count].lower() in LINKS and words[count - 1].lower() not in LINKS
    ]
    return links[-1] if links else most
