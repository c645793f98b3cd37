"""Clauses as symbols, with the place of every word."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tts.clauses import MAX_CLAUSE_CHARS
from models.tts.phonemes import MAX_SYMBOLS, Pronouncer


def test_symbols_of_a_sentence(pronouncer: Pronouncer) -> None:
    utterance = pronouncer.utter("Hello, Dr. Who (or: 3.14)!", "en-US", final=True)
    assert utterance is not None
    assert utterance.symbols == "həlˈO, dˈɑktəɹ hˌu (ɔɹ: θɹˈi pˈYnt wˈʌn fˈɔɹ)!"
    assert len(utterance.ids) == len(utterance.symbols)


def test_words_know_their_place_in_text_and_symbols(pronouncer: Pronouncer) -> None:
    text = " Pay $3.14 to Dr. Who!"
    utterance = pronouncer.utter(text, "en-US", final=True)
    assert utterance is not None
    assert [(text[w.start : w.end], utterance.symbols[w.first : w.last]) for w in utterance.words] == [
        ("Pay", "pˈA"),
        ("$3.14", "θɹˈi dˈɑləɹz ænd fˌɔɹtˈin sˈɛnts"),
        ("to", "tə"),
        ("Dr.", "dˈɑktəɹ"),
        ("Who", "hˌu"),
    ]


@pytest.mark.parametrize(("final", "mark"), [(True, "."), (False, ",")])
def test_a_clause_without_a_mark_gets_one(pronouncer: Pronouncer, final: bool, mark: str) -> None:
    utterance = pronouncer.utter("no mark", "en-US", final)
    assert utterance is not None
    assert utterance.symbols[-1] == mark


@pytest.mark.parametrize("text", ["", " \n", "😀 👍", "...", "**", "— — (", "日本語", "```"])
def test_nothing_to_say(pronouncer: Pronouncer, text: str) -> None:
    assert pronouncer.utter(text, "en-US", final=True) is None


@pytest.mark.parametrize(
    "text", ["8" * MAX_CLAUSE_CHARS, "W.W. " * 24, "100% " * 24, "x" * 120, "www." + "/" * 110 + "a"]
)
def test_much_to_say_is_said_in_parts(pronouncer: Pronouncer, text: str) -> None:
    parts = 0
    while text:
        utterance = pronouncer.utter(text, "en-GB", final=True)
        if utterance is None:
            break
        assert len(utterance.symbols) <= MAX_SYMBOLS
        assert utterance.end > 0
        text, parts = text[utterance.end :], parts + 1
    assert parts >= 1


@settings(deadline=None)
@given(st.text(max_size=MAX_CLAUSE_CHARS), st.sampled_from(["en-US", "en-GB"]))
def test_any_text_can_be_uttered(pronouncer: Pronouncer, text: str, language: str) -> None:
    utterance = pronouncer.utter(text, language, final=False)
    if utterance:
        assert 0 < len(utterance.ids) <= MAX_SYMBOLS
        places = [place for word in utterance.words for place in (word.first, word.last)]
        assert places == sorted(places)
        assert places[-1] <= len(utterance.symbols)
