"""A clause of English as the symbols that Kokoro reads, each word with its place in text and symbols."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.tts.guess import Guesser
from models.tts.lexicon import VOWELS, Context, Lexicon
from models.tts.normalise import Piece, normalise

MAX_SYMBOLS = 200
"""Most that is said in one step, about twelve seconds. (The network takes 510.)"""
MARKS = frozenset(";:,.!?—…()")
_FINAL = frozenset(".!?…,;:—")
_IDS = dict(zip(";:,.!?", range(1, 7), strict=True)) | {
    "—": 9, "…": 10, "(": 12, ")": 13, " ": 16, "A": 24, "I": 25, "O": 31, "Q": 33, "T": 36, "W": 39, "Y": 41, "ᵊ": 42,
    "a": 43, "b": 44, "d": 46, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "p": 58, "s": 61,
    "t": 62, "u": 63, "v": 64, "w": 65, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "ɔ": 76, "ð": 81, "ʤ": 82, "ə": 83,
    "ɛ": 86, "ɜ": 87, "ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119, "ɹ": 123, "ʃ": 131, "ʧ": 133, "ʊ": 135, "ʌ": 138, "ʒ": 147,
    "ˈ": 156, "ˌ": 157, "ː": 158, "ᵻ": 177,
}  # fmt: skip
"""Symbols of Kokoro 1.0 that English uses."""
# The lexicons write a flap and a glottal stop where the network was trained on these.
_AS_TRAINED = str.maketrans({"ɾ": "T", "ʔ": "t"})


class Word(NamedTuple):
    """`text[start:end]` is `symbols[first:last]`."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Utterance:
    """What one step says: `text[:end]` of the clause."""

    symbols: str
    words: list[Word]
    end: int

    @property
    def ids(self) -> list[int]:
        """The symbols' numbers."""
        return [_IDS[symbol] for symbol in self.symbols]


class Pronouncer:
    """American and British English, from misaki's lexicons and g2p-en's weights in `directory`."""

    def __init__(self, directory: Path) -> None:
        guesser = Guesser(directory / "g2p.npz")
        self._lexicons = {
            "en-US": Lexicon(directory, british=False, guesser=guesser),
            "en-GB": Lexicon(directory, british=True, guesser=guesser),
        }

    def utter(self, text: str, language: str, final: bool) -> Utterance | None:
        """As much of a clause as one step says; None if nothing in it is said.

        `final`: whether the voice should fall at the end if the text has no mark there.
        """
        pieces = list(normalise(text))
        sounds = self._sounds(pieces, self._lexicons[language])
        symbols, words = "", list[Word]()
        for piece, sound in zip(pieces, sounds, strict=True):
            joint = "" if not symbols or symbols.endswith((" ", "(")) or (sound in MARKS and sound not in "(—") else " "
            room = MAX_SYMBOLS - len(symbols) - len(joint) - 1
            if words and len(sound) > room:
                return Utterance(symbols, words, words[-1].end)
            if not sound:
                continue
            symbols += joint
            if sound not in MARKS:
                words.append(Word(piece.start, piece.end, len(symbols), len(symbols) + min(len(sound), room)))
            symbols += sound[:room]
        if not words:
            return None
        if symbols[-1] not in _FINAL:
            symbols += "." if final else ","
        return Utterance(symbols, words, len(text))

    def _sounds(self, pieces: list[Piece], lexicon: Lexicon) -> list[str]:
        """What each piece sounds like: words' phonemes with spaces between, or a mark.

        From the end to the beginning, since a word may depend on the sound that follows.
        """
        said = [(index, word) for index, piece in enumerate(pieces) for word in piece.spoken.split()]
        shouting = sum(word.isupper() and len(word) > 1 for _, word in said) > len(said) / 2
        sounds = [""] * len(pieces)
        vowel: bool | None = None
        for at in range(len(said) - 1, -1, -1):
            index, word = said[at]
            if word in MARKS:
                sounds[index], vowel = word, None
                continue
            previous = said[at - 1][1].lower() if at else ""
            following = said[at + 1][1].lower() if at + 1 < len(said) else ""
            context = Context(previous, following, vowel, shouting)
            sound = lexicon.pronounce(word, context).translate(_AS_TRAINED)
            if sound:
                vowel = next((symbol in VOWELS for symbol in sound if symbol not in "ˈˌ"), vowel)
                sounds[index] = f"{sound} {sounds[index]}".strip()
        return sounds
