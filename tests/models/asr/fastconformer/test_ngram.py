"""The automaton against the plain definition of a backoff model, and files that are none."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.asr.fastconformer.ngram import FILE, Arcs, Fusion, NGram, load, read, write
from models.asr.fastconformer.weights import CheckpointError

VOCABULARY = 3
START = VOCABULARY
# The trie of a, b, c and the start; start a, ab, ba, bc; start ab, bab, with made-up weights.
WEIGHTS = {
    (0,): -1.0, (1,): -2.0, (2,): -3.0, (START,): -9.0,
    (0, 1): -0.5, (1, 0): -0.25, (1, 2): -0.75, (START, 0): -0.125,
    (1, 0, 1): -1.5, (START, 0, 1): -1.25,
}  # fmt: skip
BACKOFFS = {(0,): -0.5, (1,): -1.5, (START,): -2.5, (0, 1): 0.5, (1, 0): -0.375, (START, 0): -4.0}


def arcs() -> Arcs:
    orders = [sorted(ngram for ngram in WEIGHTS if len(ngram) == order) for order in (1, 2, 3)]
    ngrams = [ngram for order in orders for ngram in order]
    contexts = [ngram for ngram in ngrams if len(ngram) < 3]
    return Arcs(
        torch.tensor([ngram[-1] for ngram in ngrams], dtype=torch.int16),
        torch.tensor([WEIGHTS[ngram] for ngram in ngrams]).half(),
        torch.tensor([BACKOFFS.get(context, 0.0) for context in contexts]).half(),
        torch.tensor([sum(n[:-1] == context for n in ngrams) for context in contexts], dtype=torch.int16),
    )


def logprob(written: Sequence[int], token: int) -> float:
    """As Katz has it."""
    context = tuple(written[-2:])
    while (*context, token) not in WEIGHTS:
        return BACKOFFS.get(context, 0.0) + logprob(context[1:], token)
    return WEIGHTS[(*context, token)]


def test_scores_of_every_context() -> None:
    model = NGram(arcs(), Fusion(), VOCABULARY)
    torch.manual_seed(0)
    written = [[START], [START], [START], [START]]
    states = torch.tensor([model.start] * 4)
    for _ in range(60):
        scores, following = model(states, torch.arange(VOCABULARY).expand(4, -1))
        expected = [[logprob(row, token) for token in range(VOCABULARY)] for row in written]
        torch.testing.assert_close(scores, torch.tensor(expected))
        tokens = torch.randint(VOCABULARY, (4,))
        states = following.gather(1, tokens[:, None])[:, 0]
        for row, token in zip(written, tokens.tolist(), strict=True):
            row.append(token)


def test_a_file(tmp_path: Path) -> None:
    assert load(tmp_path, VOCABULARY) is None
    write(tmp_path / FILE, arcs(), Fusion(0.25, 2.0))
    got, fusion = read(tmp_path / FILE)
    assert all(torch.equal(one, other) for one, other in zip(got, arcs(), strict=True))
    assert fusion == Fusion(0.25, 2.0)
    model = load(tmp_path, VOCABULARY)
    assert model is not None
    assert math.isclose(float(model(torch.tensor([0]), torch.tensor([[1]]))[0]), -0.5)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=FILE):
        load(tmp_path, VOCABULARY)
    save_file({"tokens": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=FILE):
        load(tmp_path, VOCABULARY)
    save_file(arcs()._asdict(), file, {"weight": "much"})
    with pytest.raises(CheckpointError, match="weight"):
        load(tmp_path, VOCABULARY)


def test_states_that_are_too_many() -> None:
    children = torch.cat([arcs().children, torch.zeros(2).short()])
    backoffs = torch.zeros(len(children)).half()
    with pytest.raises(CheckpointError, match="10 states for 10 n-grams"):
        NGram(arcs()._replace(children=children, backoffs=backoffs), Fusion(), VOCABULARY)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": torch.tensor([0, 1, 2, 3, 1, 0, 3, 0, 1, 1]).short()},
        {"tokens": torch.tensor([0, 1, 2, 2, 1, 0, 2, 0, 1, 1]).short()},
        {"tokens": torch.tensor([0, 1, 2, 3, 1, 0, -2, 0, 1, 1]).short()},
        {"weights": torch.zeros(9).half()},
        {"backoffs": torch.zeros(9).half()},
        {"children": torch.tensor([1, 2, 0, 1, 0, 1, 0, 2]).short()},
        {"children": torch.tensor([1, 3, -1, 1, 0, 1, 0, 1]).short()},
    ],
)
def test_arcs_that_are_no_trie(change: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match="not an n-gram model of 3 tokens"):
        NGram(arcs()._replace(**change), Fusion(), VOCABULARY)


def test_another_vocabulary() -> None:
    with pytest.raises(CheckpointError, match="not an n-gram model of 4 tokens"):
        NGram(arcs(), Fusion(), VOCABULARY + 1)


def test_an_end_that_is_missing() -> None:
    """b a c is there, but not a c."""
    tokens = torch.tensor([0, 1, 2, 3, 1, 0, 2, 0, 2, 1]).short()
    with pytest.raises(CheckpointError, match="the end of an n-gram of 3 tokens is missing"):
        NGram(arcs()._replace(tokens=tokens), Fusion(), VOCABULARY)
