"""New sentences from words that were said in others, cut where one ends and the next begins (aligned data augmentation,
arXiv 2104.01393): what is said next can no longer be known by heart.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from training.asr.manifest import Utterance

_PHRASE_WORDS = 3.0
"""Mean of a geometric distribution."""
_MIN_S, _MAX_S = 2.0, 8.0


def splice(utterances: Sequence[Utterance], rng: np.random.Generator) -> list[list[Utterance]]:
    """All phrases of `utterances`, which have word times, in groups of 2 to 8 seconds that follow on each other."""
    phrases = [phrase for utterance in utterances for phrase in cut(utterance, rng)]
    groups: list[list[Utterance]] = []
    wanted_s = 0.0
    for index in rng.permutation(len(phrases)):
        if not groups or sum(phrase.duration for phrase in groups[-1]) >= wanted_s:
            groups.append([])
            wanted_s = rng.uniform(_MIN_S, _MAX_S)
        groups[-1].append(phrases[index])
    return groups


def cut(utterance: Utterance, rng: np.random.Generator) -> list[Utterance]:
    """An utterance in phrases of some words each; cuts are in the middle between words."""
    words = utterance.alignment
    assert words is not None
    phrases = []
    first, begin_s = 0, 0.0
    while first < len(words):
        last = min(first + int(rng.geometric(1 / _PHRASE_WORDS)), len(words))
        end_s = utterance.duration if last == len(words) else (words[last - 1][2] + words[last][1]) / 2
        phrases.append(
            msgspec.structs.replace(
                utterance,
                offset=utterance.offset + begin_s,
                duration=end_s - begin_s,
                text=" ".join(word for word, _, _ in words[first:last]),
                alignment=[(word, start - begin_s, end - begin_s) for word, start, end in words[first:last]],
            )
        )
        first, begin_s = last, end_s
    return phrases
