"""Is it an interruption, as frames and words come in?"""

import pytest

from pipelines.onset import Onset, has_words
from pipelines.turns import FRAME_SAMPLES, SAMPLE_RATE_HZ


def frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ / FRAME_SAMPLES)


def heard(*stretches: tuple[float, bool], text: str = "", wordless_s: float | None = None) -> Onset:
    """An onset after stretches of so many seconds with speech or without."""
    wordless = None if wordless_s is None else round(wordless_s * SAMPLE_RATE_HZ)
    onset = Onset("item", [], text=text, wordless=wordless)
    for seconds, speech in stretches:
        for _ in range(frames(seconds)):
            onset.frame(speech)
    return onset


@pytest.mark.parametrize(
    ("text", "words"),
    [("Mm-hmm.", False), ("Uh-huh", False), ("Hmm...", False), ("", False), ("Uh, stop", True), ("Yes.", True)],
)
def test_fillers_are_no_words(text: str, words: bool) -> None:
    assert has_words(text) == words


def test_speech_interrupts_once_it_lasts() -> None:
    assert not heard((0.35, True)).interrupts
    assert heard((0.45, True)).interrupts


def test_words_interrupt_at_once_and_fillers_later() -> None:
    assert heard((0.1, True), text="Stop").interrupts
    assert not heard((0.5, True), text="Mm-hm").interrupts
    assert heard((0.75, True), text="Mm-hm").interrupts


def test_a_gap_within_speech_does_not_count_against_it() -> None:
    assert heard((0.25, True), (0.1, False), (0.2, True)).interrupts


def test_noises_with_a_pause_between_them_do_not_add_up() -> None:
    """A cough, then "mm-hm"."""
    assert not heard((0.25, True), (0.5, False), (0.3, True)).interrupts


def test_a_recogniser_that_hears_no_word_in_it_makes_it_noise() -> None:
    assert not heard((0.45, True), wordless_s=0.5).interrupts
    assert heard((0.75, True), wordless_s=0.5).interrupts
    assert not heard((0.75, True), wordless_s=0.75).interrupts
    assert not heard((2.0, True), wordless_s=2.2).interrupts
    assert heard((0.1, True), text="stop", wordless_s=0.0).interrupts
    assert heard((0.75, True), text="mhm", wordless_s=0.9).interrupts
