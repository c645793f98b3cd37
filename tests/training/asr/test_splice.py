from pathlib import Path

import numpy as np
import pytest

from models.audio import SAMPLE_RATE_HZ
from tests.training.asr.tones import LETTER_S, tones, write_wav
from training.asr.manifest import Utterance
from training.asr.splice import cut, splice

TEXTS = ["ab ca bc", "cab", "abc bca ab ca", "bc bc cab abc"]


def timed(directory: Path, text: str) -> Utterance:
    """An utterance of tones whose words have times."""
    file = directory / f"{text}.wav"
    write_wav(file, tones(text))
    ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
    alignment = [
        (word, float(end - len(word)) * LETTER_S, float(end) * LETTER_S)
        for word, end in zip(text.split(), ends, strict=True)
    ]
    return Utterance(str(file), len(text) * LETTER_S, text, alignment=alignment)


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    return [timed(tmp_path, text) for text in TEXTS]


def test_phrases_of_an_utterance_are_all_of_it(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        phrases = cut(utterance, np.random.default_rng(0))
        assert " ".join(phrase.text for phrase in phrases) == utterance.text
        np.testing.assert_allclose(np.concatenate([phrase.audio() for phrase in phrases]), utterance.audio())


def test_a_phrase_says_its_words_when_it_tells(utterances: list[Utterance]) -> None:
    phrases = cut(utterances[2], np.random.default_rng(1))
    assert len(phrases) > 1
    for phrase in phrases:
        for word, start, end in phrase.alignment or []:
            said = phrase.audio()[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)]
            np.testing.assert_allclose(said, tones(word), atol=1e-4)


def test_spliced_utterances_say_every_word_once_in_another_order(utterances: list[Utterance]) -> None:
    groups = splice(utterances * 8, np.random.default_rng(0))
    texts = [" ".join(phrase.text for phrase in group) for group in groups]
    assert sorted(" ".join(texts).split()) == sorted(" ".join(TEXTS * 8).split())
    assert set(texts) - set(TEXTS)
    assert all(2 <= sum(phrase.duration for phrase in group) < 12 for group in groups[:-1])
