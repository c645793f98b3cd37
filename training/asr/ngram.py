"""An n-gram model of sentences' tokens for decoding: `python -m training.asr.ngram TEXTS CHECKPOINT`.

Interpolated Kneser-Ney smoothing (Chen and Goodman 1998, section 4.1.6), pruned by count.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from models.asr.fastconformer import vocabulary as vocabularies
from models.asr.fastconformer.ngram import FILE, Arcs, Fusion, write
from models.asr.fastconformer.vocabulary import VocabularyError
from training.asr.synthesise import read_texts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_KEY_BITS = 63
_SMALLEST = 1e-6
"""Probability."""


class Counts(NamedTuple):
    """The n-grams of one order, as sorted keys with their tokens in `bits` each, and how often each was seen."""

    keys: Ints
    seen: Ints


class Level(NamedTuple):
    """The n-grams of one order, sorted by key, with their natural log-probabilities."""

    keys: Ints
    logprobs: Floats


class Keys(NamedTuple):
    """An n-gram as one number, its last token in the lowest `bits`."""

    bits: int

    def of(self, tokens: Ints, order: int) -> Ints:
        """Those of all runs of `order` tokens."""
        keys = np.zeros(len(tokens) - order + 1, np.int64)
        for n in range(order):
            keys = keys << self.bits | tokens[n : n + len(keys)]
        return keys

    def context(self, keys: Ints) -> Ints:
        """Without the last token."""
        return keys >> self.bits

    def end(self, keys: Ints, order: int) -> Ints:
        """The last `order` tokens."""
        return keys & ((1 << self.bits * order) - 1)


def count(sentences: Sequence[Sequence[int]], order: int, start: int, form: Keys) -> list[Counts]:
    """The n-grams of orders 1 to `order`; each sentence begins with `start`."""
    tokens = np.concatenate([[start, *sentence] for sentence in sentences])
    place = np.concatenate([np.arange(1 + len(sentence)) for sentence in sentences])
    whole = (form.of(tokens, n)[place[n - 1 :] >= n - 1] for n in range(1, order + 1))
    return [Counts(*np.unique(keys, return_counts=True)) for keys in whole]


def smooth(counts: Sequence[Counts], start: int, form: Keys) -> list[Level]:
    """Their probabilities. `start` itself has none."""
    levels: list[Level] = []
    for order, (keys, seen) in enumerate(counts, start=1):
        weight = seen.astype(np.float64)
        if order < len(counts):
            follows = np.searchsorted(keys, form.end(counts[order].keys, order))
            kinds = np.bincount(follows, minlength=len(keys))
            begins = (keys >> form.bits * (order - 1) == start) & (order > 1)
            weight = np.where(begins, weight, kinds)
        ones, twos = (weight == 1).sum(), (weight == 2).sum()
        discount = ones / max(1, ones + 2 * twos)
        _, first, of = np.unique(form.context(keys), return_index=True, return_inverse=True)
        total = np.maximum(np.add.reduceat(weight, first), 1)
        kept_back = np.add.reduceat(np.minimum(weight, discount), first) / total
        if levels:
            lower = np.exp(levels[-1].logprobs[np.searchsorted(levels[-1].keys, form.end(keys, order - 1))])
        else:
            lower = np.full(len(keys), 1 / start)
        probabilities = np.maximum(weight - discount, 0) / total[of] + kept_back[of] * lower
        levels.append(Level(keys, np.log(np.maximum(probabilities, _SMALLEST))))
    return levels


def prune(levels: Sequence[Level], counts: Sequence[Counts], least: Sequence[int]) -> list[Level]:
    """Without those seen less than `least` times: a number for each order, none below the one before."""
    seen = [counted.seen >= limit for counted, limit in zip(counts, least, strict=True)]
    return [Level(level.keys[keep], level.logprobs[keep]) for level, keep in zip(levels, seen, strict=True)]


def trie(levels: Sequence[Level], start: int, form: Keys) -> Arcs:
    """With backoff weights that make the probabilities after each context add up to 1."""
    unigrams = Level(np.arange(start + 1), np.full(start + 1, np.log(_SMALLEST)))
    unigrams.logprobs[levels[0].keys] = levels[0].logprobs
    levels = [unigrams, *(level for level in levels[1:] if len(level.keys))]
    backoffs, children = [], []
    for order, (lower, (keys, logprobs)) in enumerate(pairwise(levels), start=2):
        of = np.searchsorted(lower.keys, form.context(keys))
        shorter = lower.logprobs[np.searchsorted(lower.keys, form.end(keys, order - 1))]
        left, below = (1 - np.bincount(of, np.exp(p), len(lower.keys)) for p in (logprobs, shorter))
        backoffs.append(np.log(np.maximum(left, _SMALLEST) / np.maximum(below, _SMALLEST)))
        children.append(np.bincount(of, minlength=len(lower.keys)))
    tokens = np.concatenate([form.end(keys, 1) for keys, _ in levels])
    weights = np.concatenate([logprobs for _, logprobs in levels])
    arcs = Arcs(*map(torch.from_numpy, (tokens, weights, np.concatenate(backoffs), np.concatenate(children))))
    return Arcs(arcs.tokens.short(), arcs.weights.half(), arcs.backoffs.half(), arcs.children.short())


def read_sentences(texts: Path) -> list[str]:
    """Those of a file of `training.asr.texts` that are not held out, or the lines of a `.txt` file."""
    if texts.suffix == ".txt":
        return [line for line in texts.read_text().splitlines() if line.strip()]
    return [text.spoken for text in read_texts(texts, heldout=False)]


def read_limits(least: str, form: Keys) -> list[int]:
    """Raises typer.BadParameter."""
    try:
        limits = [int(limit) for limit in least.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"numbers with commas between, got {least!r}", param_hint="--least") from error
    most = _KEY_BITS // form.bits
    if not 2 <= len(limits) <= most or limits != sorted(limits) or limits[0] < 1:
        told = f"2 to {most} numbers from 1 on, none below the one before, got {least!r}"
        raise typer.BadParameter(told, param_hint="--least")
    return limits


def main(
    texts: Annotated[
        Path, typer.Argument(exists=True, help="What training.asr.texts wrote, or .txt with a sentence a line.")
    ],
    checkpoint: Annotated[Path, typer.Argument(exists=True, help=f"Has the vocabulary, and gets {FILE}.")],
    least: Annotated[
        str, typer.Option(help="Times that an n-gram of one token, of two ... was seen at least.")
    ] = "1,1,3,5,6,8",
    weight: Annotated[float, typer.Option(min=0, help="Of its log-probabilities.")] = Fusion().weight,
    word_bonus: Annotated[float, typer.Option(help="Nats a word.")] = Fusion().word_bonus,
) -> None:
    """Count the n-grams of sentences."""
    vocabulary = vocabularies.load(checkpoint)
    start = len(vocabulary)
    form = Keys(start.bit_length())
    limits = read_limits(least, form)
    try:
        sentences = [vocabulary.encode(sentence) for sentence in read_sentences(texts)]
    except VocabularyError as error:
        raise typer.BadParameter(str(error), param_hint="TEXTS") from error
    counts = count(sentences, len(limits), start, form)
    arcs = trie(prune(smooth(counts, start, form), counts, limits), start, form)
    write(checkpoint / FILE, arcs, Fusion(weight, word_bonus))
    typer.echo(f"{len(arcs.tokens)} n-grams of {len(sentences)} sentences")


if __name__ == "__main__":
    typer.run(main)
