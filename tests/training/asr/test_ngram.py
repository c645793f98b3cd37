"""Smoothing against its formula, written out, and what is read back."""

import math
from collections import Counter
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from models.asr.fastconformer.ngram import FILE, Fusion, NGram, load, read
from tests.models.asr.fastconformer import small
from training.asr.ngram import Keys, count, main, prune, smooth, trie
from training.asr.texts import Text

APP = typer.Typer()
APP.command()(main)
START = 4
ORDER = 3
FORM = Keys(START.bit_length())
SENTENCES = [[0, 1, 2, 0, 1], [0, 1, 3], [2, 0, 1, 2], [3, 3, 0, 2, 1], [1, 2, 0, 1, 2, 0]] * 2 + [[0, 2, 3, 1]]


def kneser_ney(history: tuple[int, ...], token: int) -> float:
    """Interpolated, with one discount an order (Chen and Goodman 1998, equations 24 to 26)."""
    order = len(history) + 1
    weights = _weights(order)
    values = list(weights.values())
    ones, twos = values.count(1), values.count(2)
    discount = ones / max(1, ones + 2 * twos)
    own = {ngram: weight for ngram, weight in weights.items() if ngram[:-1] == history}
    total = max(1, sum(own.values()))
    kept_back = sum(min(weight, discount) for weight in own.values()) / total
    lower = kneser_ney(history[1:], token) if history else 1 / START
    return max(own.get((*history, token), 0) - discount, 0) / total + kept_back * lower


def _weights(order: int) -> Counter[tuple[int, ...]]:
    """Counts of the highest order and of beginnings; of others, how many different tokens are before them."""
    sentences = [(START, *sentence) for sentence in SENTENCES]
    seen, longer = (
        Counter(s[at : at + n] for s in sentences for at in range(len(s) - n + 1)) for n in (order, order + 1)
    )
    if order == ORDER:
        return seen
    kinds = Counter(ngram[1:] for ngram in longer)
    return Counter({ngram: seen[ngram] if ngram[0] == START and order > 1 else kinds[ngram] for ngram in seen})


def model(least: list[int]) -> NGram:
    counts = count(SENTENCES, ORDER, START, FORM)
    return NGram(trie(prune(smooth(counts, START, FORM), counts, least), START, FORM), Fusion(), START)


def test_probabilities() -> None:
    counts = count(SENTENCES, ORDER, START, FORM)
    levels = smooth(counts, START, FORM)
    for order, (keys, logprobs) in enumerate(levels, start=1):
        for key, logprob in zip(keys.tolist(), logprobs, strict=True):
            ngram = tuple(key >> FORM.bits * place & 7 for place in reversed(range(order)))
            if ngram != (START,):
                assert math.isclose(math.exp(logprob), kneser_ney(ngram[:-1], ngram[-1]), rel_tol=1e-9)


@pytest.mark.parametrize("least", [[1, 1, 1], [1, 2, 3], [1, 3, 20]])
def test_after_every_context_they_add_up_to_one(least: list[int]) -> None:
    """To what float16 keeps of their logarithms."""
    ngrams = model(least)
    for tokens in product(range(START), repeat=3):
        states = torch.tensor([ngrams.start])
        for token in tokens:
            scores, following = ngrams(states, torch.arange(START)[None])
            assert math.isclose(float(scores.exp().sum()), 1, abs_tol=0.005)
            states = following[:, token]


def test_what_was_seen_less_is_left_out() -> None:
    counts = count(SENTENCES, ORDER, START, FORM)
    levels = prune(smooth(counts, START, FORM), counts, [1, 2, 4])
    sizes = [len(level.keys) for level in levels]
    assert sizes == [5, sum(counts[1].seen >= 2), sum(counts[2].seen >= 4)]
    assert np.all(np.diff(levels[2].keys) > 0)


def test_the_command(tmp_path: Path) -> None:
    said = [*small.SENTENCES, *small.SENTENCES[:1] * 3]
    texts = [Text(text, text, "test", heldout=False) for text in said]
    texts += [Text(text, text, "test", heldout=True) for text in small.SENTENCES[1:]] * 9
    (tmp_path / "texts.jsonl").write_bytes(b"".join(msgspec.json.encode(text) + b"\n" for text in texts))
    vocabulary = small.vocabulary()
    vocabulary.save(tmp_path)
    arguments = [str(tmp_path / "texts.jsonl"), str(tmp_path), "--least", "1,1,1,1", "--weight", "0.3"]
    told = CliRunner().invoke(APP, arguments)
    assert told.exit_code == 0, told.output
    assert f"{len(said)} sentences" in told.output
    _, fusion = read(tmp_path / FILE)
    assert fusion == Fusion(weight=0.3)
    ngrams = load(tmp_path, len(vocabulary))
    assert ngrams is not None
    states, chances = torch.tensor([ngrams.start]), []
    for token in vocabulary.encode(small.SENTENCES[0]):
        scores, following = ngrams(states, torch.tensor([[token]]))
        chances.append(float(scores.exp()))
        states = following[0]
    assert np.mean(chances) > 0.5


@pytest.mark.parametrize("least", ["1", "1,1,1,1,1,1,1,1,1,1,1,1", "1,3,2", "0,1", "1,two"])
def test_limits_that_are_refused(tmp_path: Path, least: str) -> None:
    (tmp_path / "texts.txt").write_text("hello world\n")
    small.vocabulary().save(tmp_path)
    refused = CliRunner().invoke(APP, [str(tmp_path / "texts.txt"), str(tmp_path), "--least", least])
    assert refused.exit_code == 2
    assert "--least" in refused.output


def test_lines_of_text(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(small.SENTENCES) + "\n\n")
    small.vocabulary().save(tmp_path)
    told = CliRunner().invoke(APP, [str(texts), str(tmp_path), "--least", "1,1"])
    assert told.exit_code == 0, told.output
    assert f"{len(small.SENTENCES)} sentences" in told.output
    texts.write_text("hello 5 worlds")
    refused = CliRunner().invoke(APP, [str(texts), str(tmp_path), "--least", "1,1"])
    assert refused.exit_code == 2
    assert "hello 5 worlds" in refused.output
