"""How English words sound, in the notation that Kokoro was trained on: misaki's lexicons, inflections of what they
list, initials, and guesses.
"""

import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from models.tts.english import ENGLISH
from models.tts.guess import Guesser

VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ")
PRIMARY = "ˈ"
SECONDARY = "ˌ"
ENTRIES_IN_CACHE = 4096
_FLAPPING = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z']+")
_BEFORE_PARTICIPLE = frozenset(ENGLISH.before_participle.split())
_BEFORE_VERB = frozenset(ENGLISH.before_verb.split())
_BEFORE_NOUN = frozenset(ENGLISH.before_noun.split())


class Context(NamedTuple):
    """What stands around a word: the words beside it (lower case, "" for none) and whether a vowel follows, None if
    a pause does.
    """

    previous: str = ""
    following: str = ""
    vowel_follows: bool | None = None
    shouting: bool = False
    """Whether capitals are the rule here."""


class Lexicon:
    """American or British English."""

    def __init__(self, directory: Path, british: bool, guesser: Guesser) -> None:
        """`directory` holds misaki's `us_gold.json` and its like."""
        region = "gb" if british else "us"
        self._british = british
        self._guesser = guesser
        self._gold: dict[str, str | dict[str, str | None]] = _read(directory / f"{region}_gold.json")
        self._silver = _read(directory / f"{region}_silver.json")
        self._guesses: dict[str, str] = {}

    def pronounce(self, word: str, context: Context) -> str:
        """The word's phonemes; empty if it has no letter of the English alphabet."""
        word = "".join(letter for letter in unicodedata.normalize("NFKD", word) if letter.isascii())
        if not any(letter.isalpha() for letter in word):
            return ""
        if weak := _weak_form(word, context):
            return weak
        sounds = self._find(word, context)
        if word[0].isupper() and not any(mark in sounds for mark in PRIMARY + SECONDARY):
            return _stress(sounds, PRIMARY if len(word) > 1 and word.isupper() else SECONDARY)
        return sounds

    def _find(self, word: str, context: Context) -> str:
        if len(word) == 1:
            return self._spell(word)
        if word.isupper() and not context.shouting and self._is_initials(word):
            return self._spell(word)
        return (
            self._listed(word, context)
            or self._possessive(word, context)
            or self._inflected(word.lower(), context)
            or self._compound(word, context)
            or self._guess(word.lower())
        )

    def _is_initials(self, word: str) -> bool:
        entry = self._gold.get(word)
        if isinstance(entry, dict):
            return entry.get("NOUN", "") is None
        return entry is None and self._gold.get(word.lower()) is None

    def _listed(self, word: str, context: Context) -> str | None:
        for form in dict.fromkeys((word, word.lower(), word.capitalize())):
            entry = self._gold.get(form) or self._silver.get(form)
            if isinstance(entry, dict):
                return entry.get(_role(entry, context)) or entry["DEFAULT"]
            if entry:
                return entry
        return None

    def _possessive(self, word: str, context: Context) -> str | None:
        stem, apostrophe, ending = word.rpartition("'")
        if not apostrophe or ending.lower() not in ("", "s"):
            return None
        sounds = self._find(stem, context) if stem else ""
        return (self._plural(sounds) if ending else sounds) or None

    def _inflected(self, word: str, context: Context) -> str | None:
        for ending, stems, inflect in (
            ("s", _stems_of_s(word), self._plural),
            ("d", _stems_of_ed(word), self._past),
            ("ing", _stems_of_ing(word), self._gerund),
        ):
            if word.endswith(ending):
                for stem in stems:
                    if len(stem) > 1 and (sounds := self._listed(stem, context)):
                        return inflect(sounds)
        return None

    def _compound(self, word: str, context: Context) -> str | None:
        """ "GPUs" as G P U and s, "iPhone" as i and Phone."""
        if word[:-1].isupper() and word.endswith("s"):
            return self._plural(self._spell(word[:-1]))
        parts = _PARTS.findall(word)
        if len(parts) < 2:
            return None
        return "".join(self._find(part, context) for part in parts)

    def _guess(self, word: str) -> str:
        letters = "".join(letter for letter in word if letter.isalpha())
        if letters not in self._guesses:
            if len(self._guesses) >= ENTRIES_IN_CACHE:
                self._guesses.clear()
            self._guesses[letters] = self._guesser.guess(letters, self._british)
        return self._guesses[letters]

    def _spell(self, letters: str) -> str:
        """Letter by letter, the last one stressed most."""
        names = [str(self._gold[letter]) for letter in letters.upper() if letter.isalpha()]
        sounds = "".join(_stress(name.replace(PRIMARY, SECONDARY), SECONDARY) for name in names)
        return PRIMARY.join(sounds.rsplit(SECONDARY, 1))

    def _plural(self, stem: str) -> str:
        if stem[-1] in "ptkfθ":
            return stem + "s"
        if stem[-1] in "szʃʒʧʤ":
            return stem + ("ɪz" if self._british else "ᵻz")
        return stem + "z"

    def _past(self, stem: str) -> str:
        if stem[-1] in "pkfθʃsʧ":
            return stem + "t"
        if stem[-1] not in "dt":
            return stem + "d"
        return self._flapped(stem) + ("ɪd" if self._british else "ᵻd")

    def _gerund(self, stem: str) -> str:
        linked = stem + "ɹ" if self._british and stem[-1] in "əː" and not stem.endswith(("iː", "uː")) else stem
        return self._flapped(linked) + "ɪŋ"

    def _flapped(self, stem: str) -> str:
        """American t between vowels."""
        if not self._british and stem.endswith("t") and len(stem) > 1 and stem[-2] in _FLAPPING:
            return stem[:-1] + "ɾ"
        return stem


def _read(file: Path) -> dict[str, str | dict[str, str | None]]:
    entries: dict[str, str | dict[str, str | None]] = json.loads(file.read_bytes())
    return entries


def _weak_form(word: str, context: Context) -> str | None:
    """Words that sound differently before a vowel, a consonant and a pause."""
    vowel = context.vowel_follows
    match word.lower():
        case "the":
            return "ði" if vowel else "ðə"
        case "a" if word == "a" or not context.previous:
            return "ɐ"
        case "an":
            return "ɐn"
        case "to" if vowel is not None:
            return "tʊ" if vowel else "tə"
        case "i":
            return SECONDARY + "I"
        case "used" if context.following == "to":
            return "jˈust"
        case _:
            return None


def _role(entry: dict[str, str | None], context: Context) -> str:
    """Which of an entry's readings is meant, judged by the word before."""
    if context.vowel_follows is None and "None" in entry:
        return "None"
    if context.previous in _BEFORE_PARTICIPLE and "VBN" in entry:
        return "VBN"
    if context.previous in _BEFORE_VERB:
        return "VERB"
    return "NOUN" if context.previous in _BEFORE_NOUN else "DEFAULT"


def _stress(sounds: str, mark: str) -> str:
    """`sounds` with `mark` before the first vowel, if nothing is stressed yet."""
    if PRIMARY in sounds or SECONDARY in sounds:
        return sounds
    first = next((index for index, sound in enumerate(sounds) if sound in VOWELS), None)
    return sounds if first is None else sounds[:first] + mark + sounds[first:]


def _stems_of_s(word: str) -> list[str]:
    stems = [] if word.endswith("ss") else [word[:-1]]
    if word.endswith("ies"):
        return [word[:-3] + "y", *stems]
    return [*stems, word[:-2]] if word.endswith("es") else stems


def _stems_of_ed(word: str) -> list[str]:
    if word.endswith("ied"):
        return [word[:-3] + "y"]
    if not word.endswith("ed"):
        return []
    doubled = [word[:-3]] if len(word) > 4 and word[-3] == word[-4] else []
    return [word[:-1], word[:-2], *doubled]


def _stems_of_ing(word: str) -> list[str]:
    doubled = [word[:-4]] if len(word) > 5 and word[-4] == word[-5] else []
    return [word[:-3], word[:-3] + "e", *doubled]
