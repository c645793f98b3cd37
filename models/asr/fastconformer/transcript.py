"""What is told of the tokens that were heard."""

from collections.abc import Sequence
from statistics import fmean, mode
from typing import Any

from models.asr.fastconformer.decoder import Token
from models.asr.fastconformer.timing import time_words
from models.asr.fastconformer.vocabulary import Vocabulary


def final(
    vocabulary: Vocabulary, tokens: Sequence[Token], language: str | None, start: int, end: int, *, words: bool
) -> dict[str, Any]:
    """Meta of a final text of samples [start, end), whose first encoder frame begins at `start`.

    A `language` that is not known is the one that most tags among the tokens name, if any.
    """
    text = vocabulary.decode([token.id for token in tokens])
    tags = [vocabulary.tags[token.id] for token in tokens if token.id in vocabulary.tags]
    tokens = [token for token in tokens if token.id not in vocabulary.tags]
    meta: dict[str, Any] = {
        "text": text,
        "language": language or (mode(tags) if tags else None),
        "tokens": [[_text(vocabulary, token.id), token.logprob] for token in tokens],
        "no_speech": 0.0 if text else 1.0,
        "avg_logprob": fmean(token.logprob for token in tokens) if tokens else 0.0,
    }
    if words:
        timed = time_words(tokens, vocabulary, start)
        meta["words"] = [[text, min(begin, end), min(until, end), p] for text, begin, until, p in timed]
    return meta


def _text(vocabulary: Vocabulary, token: int) -> str:
    """What the token writes, with the space before it."""
    return (" " if vocabulary.starts_word(token) else "") + vocabulary.decode([token])
