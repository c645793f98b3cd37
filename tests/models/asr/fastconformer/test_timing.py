"""Words, their samples and probabilities."""

import math

import pytest

from models.asr.fastconformer.decoder import Token
from models.asr.fastconformer.timing import time_words
from tests.models.asr.fastconformer import small


def test_words() -> None:
    vocabulary = small.vocabulary()
    tokens = vocabulary.encode("hello it's fine")
    starts = [place for place, token in enumerate(tokens) if vocabulary.starts_word(token)]
    frames = list(range(3, 3 + 2 * len(tokens), 2))
    timed = [Token(token, frame, math.log(0.5)) for token, frame in zip(tokens, frames, strict=True)]
    words = time_words(timed, vocabulary, 16_000)
    assert [word.text for word in words] == ["hello", "it's", "fine"]
    assert [word.start for word in words] == [16_000 + 1280 * frames[place] for place in starts]
    lasts = [place - 1 for place in [*starts[1:], len(tokens)]]
    assert [word.end for word in words] == [16_000 + 1280 * (frames[place] + 1) for place in lasts]
    assert all(word.probability == pytest.approx(0.5) for word in words)


def test_words_of_one_frame_do_not_overlap() -> None:
    vocabulary = small.vocabulary()
    words = time_words([Token(token, 4, 0.0) for token in vocabulary.encode("the dog")], vocabulary)
    assert [word[:3] for word in words] == [("the", 5120, 5120), ("dog", 5120, 6400)]


def test_a_mark_alone_is_no_word() -> None:
    vocabulary = small.vocabulary()
    mark = next(token for token in range(len(vocabulary)) if not vocabulary.decode([token]))
    tokens = [Token(mark, 1, 0.0), *(Token(token, 4, -0.1) for token in vocabulary.encode("dog"))]
    assert [word[:2] for word in time_words(tokens, vocabulary)] == [("dog", 5120)]
    assert time_words([], vocabulary) == []
