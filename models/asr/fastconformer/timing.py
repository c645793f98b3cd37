"""From tokens to words with their time."""

import math
from collections.abc import Sequence
from statistics import fmean

from models.asr.fastconformer.config import FRAME_S
from models.asr.fastconformer.decoder import Token
from models.asr.fastconformer.vocabulary import Vocabulary
from models.asr.words import TimedWord
from models.audio import SAMPLE_RATE_HZ

FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)


def time_words(tokens: Sequence[Token], vocabulary: Vocabulary, offset: int = 0) -> list[TimedWord]:
    """Words of `tokens`, whose frame 0 is sample `offset`.

    A word lasts from its first token's frame to the end of its last one's, or to the next word; its probability is the
    mean of its tokens'.
    """
    groups: list[list[Token]] = []
    for token in tokens:
        if not groups or vocabulary.starts_word(token.id):
            groups.append([])
        groups[-1].append(token)
    words: list[TimedWord] = []
    limit: int | None = None
    for group in reversed(groups):
        text = vocabulary.decode([token.id for token in group])
        if text:
            start, end = group[0].frame, group[-1].frame + 1
            end = end if limit is None else min(end, limit)
            probability = fmean(math.exp(token.logprob) for token in group)
            words.append(TimedWord(text, offset + start * FRAME_SAMPLES, offset + end * FRAME_SAMPLES, probability))
            limit = start
    return words[::-1]
