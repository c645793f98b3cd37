"""Local agreement: what two hypotheses in a row say is kept, and never taken back."""

from hypothesis import given
from hypothesis import strategies as st

from models.asr.whisper.agreement import Agreement
from models.asr.words import Word


def words(text: str) -> list[Word]:
    return [Word(" " + word, (sum(word.encode()),)) for word in text.split()]


def agree(*tails: str) -> Agreement:
    agreement = Agreement()
    for tail in tails:
        agreement.update(words(tail))
    return agreement


def test_nothing_is_agreed_on_after_one_hypothesis() -> None:
    assert agree("he was not").text == ""


def test_the_common_beginning_of_two_hypotheses_is_agreed_on() -> None:
    assert agree("he was not ill", "he was not an ill").text == "he was not"


def test_the_last_word_waits_for_another_after_it() -> None:
    agreement = agree("he was", "he was")
    assert agreement.text == "he"
    agreement.update(words("was not"))
    assert agreement.text == "he was"


def test_a_word_that_changed_starts_again() -> None:
    agreement = agree("howdy mary a", "had he married", "had he married a")
    assert agreement.text == "had he married"


def test_case_and_punctuation_do_not_matter_and_the_latest_counts() -> None:
    assert agree("He was not.", "he was, Not an").text == "he was, Not"


def test_punctuation_alone_is_compared_as_it_is() -> None:
    assert agree("- so it", "– so it goes").text == ""


def test_update_tells_whether_the_text_grew() -> None:
    agreement = Agreement()
    assert [agreement.update(words(tail)) for tail in ("a b c", "a b c", "c", "", "c d", "c d")] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert agreement.text == "a b c"
    assert agreement.tokens == [word.tokens[0] for word in words("a b c")]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "C.", "c"]), max_size=6).map(" ".join), max_size=8))
def test_text_and_tokens_only_grow(tails: list[str]) -> None:
    agreement = Agreement()
    for tail in tails:
        text, tokens = agreement.text, list(agreement.tokens)
        grew = agreement.update(words(tail))
        assert agreement.text.startswith(text)
        assert agreement.tokens[: len(tokens)] == tokens
        assert grew == (len(agreement.tokens) > len(tokens))
