"""Local agreement (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection"): what two hypotheses in a row say of growing audio is kept.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.asr.words import Word


@dataclass
class Agreement:
    """The agreed text, which only ever grows, its tokens, and the words that the last hypothesis said after it."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def update(self, words: Sequence[Word]) -> bool:
        """Add the next hypothesis, given as its words after the agreed ones; true if the agreed text grew.

        Words agree whatever their case and punctuation. The last word of a hypothesis may be cut off, so it is never
        agreed on before further words follow it.
        """
        heard = [_bare(word.text) for word in words]
        agreed = 0
        for former, latter in zip(self.tail, heard[:-1], strict=False):
            if former != latter:
                break
            agreed += 1
        for word in words[:agreed]:
            self.text = (self.text + word.text).lstrip()
            self.tokens += word.tokens
        self.tail = heard[agreed:]
        return agreed > 0


def _bare(word: str) -> str:
    letters = "".join(character for character in word if unicodedata.category(character)[0] in "LMN")
    return letters.casefold() or word.strip()
