"""How words sound."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.tts.guess import Guesser
from models.tts.lexicon import Context, Lexicon


@pytest.fixture(scope="module")
def american(checkpoint: Callable[[str], Path]) -> Lexicon:
    directory = checkpoint("kokoro")
    return Lexicon(directory, british=False, guesser=Guesser(directory / "g2p.npz"))


@pytest.fixture(scope="module")
def british(checkpoint: Callable[[str], Path]) -> Lexicon:
    directory = checkpoint("kokoro")
    return Lexicon(directory, british=True, guesser=Guesser(directory / "g2p.npz"))


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("hello", "həlˈO"),
        ("doctor", "dˈɑktəɹ"),
        ("cats'", "kˈæts"),
        ("dog's", "dˈɔɡz"),
        ("foxes", "fˈɑksᵻz"),
        ("batted", "bˈæɾᵻd"),
        ("running", "ɹˈʌnɪŋ"),
        ("NASA", "nˈæsə"),
        ("GPU", "ʤˌipˌijˈu"),
        ("GPUs", "ʤˌipˌijˈuz"),
        ("US", "jˌuˈɛs"),
        ("café", "kæfˈA"),
        ("日本", ""),
    ],
)
def test_american_words(american: Lexicon, word: str, sounds: str) -> None:
    assert american.pronounce(word, Context(vowel_follows=False)) == sounds


def test_british_words(british: Lexicon) -> None:
    context = Context(vowel_follows=False)
    assert [british.pronounce(word, context) for word in ("bath", "car", "go")] == ["bˈɑːθ", "kˈɑː", "ɡˌQ"]


@pytest.mark.parametrize(
    ("word", "context", "sounds"),
    [
        ("the", Context(vowel_follows=True), "ði"),
        ("the", Context(vowel_follows=False), "ðə"),
        ("to", Context(vowel_follows=False), "tə"),
        ("a", Context("is", "cat", False), "ɐ"),
        ("record", Context("to", "it", True), "ɹəkˈɔɹd"),
        ("record", Context("a", "of", True), "ɹˈɛkəɹd"),
        ("read", Context("have", "it", True), "ɹˈɛd"),
        ("live", Context("we", "here", False), "lˈɪv"),
        ("used", Context("i", "to", False), "jˈust"),
        ("US", Context(shouting=True), "ˌʌs"),
    ],
)
def test_the_words_around_decide(american: Lexicon, word: str, context: Context, sounds: str) -> None:
    assert american.pronounce(word, context) == sounds


def test_unknown_words_are_guessed(american: Lexicon, british: Lexicon) -> None:
    context = Context(vowel_follows=False)
    assert american.pronounce("blorping", context) == "blˈɔɹpɪŋ"
    assert "ɹ" not in british.pronounce("blorping", context)
    assert american.pronounce("zzyzx" * 20, context)
