"""Speech over `POST /v1/audio/speech`: which parts of a text are asked for when."""

import re

PATH = "/v1/audio/speech"
NOTHING_TO_SPEAK = "nothing_to_speak"
MAX_PART_CHARS = 4_000
_END = re.compile(r"(?P<word>\S*?)(?P<stop>[.!?…]+)[\"')\]”’»]*\s+(?=[^\sa-z])|\n\s*\n(?=\S)")
_STOPS = (
    "mr mrs ms dr st prof rev hon gen col capt lt sgt sr jr vs etc no vol fig pp ca al e.g i.e a.m p.m approx dept est "
    "inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov dec"
)
_ABBREVIATIONS = frozenset(_STOPS.split())
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")


class Script:
    """A text that arrives in pieces, and is said in parts: whole sentences, as many as are there.

    A sentence is over when the next one begins, or the text is. One that does not end is cut between words.
    """

    def __init__(self) -> None:
        self.finished = False
        """Whether no more text comes."""
        self._text = ""

    @property
    def waiting(self) -> int:
        """Characters that are in no part yet."""
        return len(self._text)

    def add(self, text: str) -> None:
        """Go on."""
        self._text += text

    def part(self) -> str | None:
        """The next part to be said, if there is one."""
        size = self._size()
        part, self._text = self._text[:size], self._text[size:]
        return part if part.strip() else None

    def _size(self) -> int:
        text = self._text
        if self.finished and len(text) <= MAX_PART_CHARS:
            return len(text)
        ends = [match.end() for match in _END.finditer(text, 0, MAX_PART_CHARS + 1) if not _goes_on(match)]
        if ends:
            return ends[-1]
        if len(text) <= MAX_PART_CHARS:
            return 0
        space = text.rfind(" ", 0, MAX_PART_CHARS)
        return space + 1 if space > 0 else MAX_PART_CHARS


def _goes_on(end: re.Match[str]) -> bool:
    """Whether the full stop belongs to the word: an abbreviation, initials, the number of a list's item."""
    if end["stop"] != ".":
        return False
    word = end["word"].lstrip("(['\"“‘").lower()
    return word in _ABBREVIATIONS or word.isdigit() or (word != "i" and _INITIALS.fullmatch(word) is not None)
