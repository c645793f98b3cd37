"""Distributions, independence, masks and stop strings."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from models.lm.sampling import Choice, sample
from models.lm.text import StopText

VOCAB = 1000


def random_logits(rows: int, vocab: int = VOCAB, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))


def choice(temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, seed: int = 0, position: int = 0) -> Choice:
    return Choice(temperature, top_p, top_k, seed, position)


def test_greedy_and_log_probability() -> None:
    logits = random_logits(3)
    tokens, logprobs = sample(logits, [choice(temperature=0)] * 3)
    assert tokens == logits.argmax(-1).tolist()
    assert logprobs == pytest.approx(logits.log_softmax(-1).amax(-1).tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [(1.0, 1.0, 0), (0.7, 1.0, 3), (1.5, 0.6, 0), (1.0, 0.8, 6), (2.0, 0.9, 50)]
)
def test_distribution_is_that_of_transformers(temperature: float, top_p: float, top_k: int) -> None:
    logits, count = random_logits(1, vocab=12), 4000
    scores = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        scores = TopKLogitsWarper(min(top_k, 12))(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    wanted = scores.softmax(-1)[0]
    choices = [choice(temperature, top_p, top_k, seed=7, position=position) for position in range(count)]
    tokens, _ = sample(logits.expand(count, -1), choices)
    found = torch.bincount(torch.tensor(tokens), minlength=12) / count
    assert not found[wanted == 0].any()
    assert (found - wanted).abs().max() < 5 * math.sqrt(0.25 / count)


def test_the_nucleus_may_be_larger_than_what_is_sorted_first() -> None:
    flat = torch.zeros(1, 5000)
    flat[0, :100] = -1
    tokens, _ = sample(flat.expand(500, -1), [choice(top_p=0.9, seed=seed) for seed in range(500)])
    assert len({*tokens}) > 400


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = random_logits(5)
    choices = [
        choice(0.0),
        choice(0.8, seed=1, position=5),
        choice(1.0, 0.9, seed=2),
        choice(1.3, 0.7, 40, seed=3),
        choice(1e-3, seed=4),
    ]
    together = sample(logits, choices)
    alone = [sample(logits[row : row + 1], [one]) for row, one in enumerate(choices)]
    assert together[0] == [tokens[0] for tokens, _ in alone]


def test_seed_and_position_decide() -> None:
    logits = random_logits(1).expand(64, -1) / 10

    def draw(**which: int) -> list[int]:
        return sample(logits, [choice(position=position, **which) for position in range(64)])[0]

    assert draw(seed=3) == draw(seed=3)
    assert draw(seed=3) != draw(seed=4)
    assert len({*draw(seed=3)}) > 32
    assert sample(logits[:1], [choice(seed=2**64 - 1, position=2**40)])[0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_allowed_tokens(temperature: float) -> None:
    logits = random_logits(4)
    allowed = torch.zeros(4, VOCAB, dtype=torch.bool)
    for row in range(4):
        allowed[row, [row, 500 + row]] = True
    tokens, logprobs = sample(logits, [choice(temperature, 0.95, seed=row) for row in range(4)], allowed)
    assert all(token in (row, 500 + row) for row, token in enumerate(tokens))
    assert logprobs == pytest.approx(
        [logits.log_softmax(-1)[row, token].item() for row, token in enumerate(tokens)], abs=1e-4
    )


@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=40),
)
def test_text_ends_before_the_first_stop_string_however_it_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    stream, shown, at, stopped = StopText(stops), "", 0, False
    for cut in cuts + [1] * len(text):
        if at >= len(text) or stopped:
            break
        piece, stopped = stream.push(text[at : at + cut])
        at += cut
        shown += piece
    if not stopped:
        shown += stream.flush()
    found = [text.find(stop) for stop in stops if stop in text]
    assert stopped == bool(found)
    if stopped:
        # A shorter stop string that is complete earlier wins over one that began before it.
        assert text.startswith(shown)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
        assert not any(stop in shown for stop in stops)
    else:
        assert shown == text


def test_penalties_count_what_the_reply_has_said() -> None:
    """OpenAI's formula: logit - count * frequency_penalty - (count > 0) * presence_penalty."""
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]] * 3)
    greedy = choice(temperature=0)
    said = [0, 0, 1]
    choices = [
        greedy._replace(said=said),
        greedy._replace(said=said, frequency_penalty=0.6),
        greedy._replace(said=said, frequency_penalty=1.1, presence_penalty=1.2),
    ]
    tokens, logprobs = sample(logits, choices)
    assert tokens == [0, 0, 2]
    assert logprobs == pytest.approx(logits.log_softmax(-1)[0, tokens].tolist(), abs=1e-6)
    assert sample(logits[:1], [greedy._replace(said=said, frequency_penalty=0.9, presence_penalty=-1.0)])[0] == [0]
    assert sample(logits[:1], [greedy._replace(said=said, frequency_penalty=0.9)])[0] == [0]
    assert sample(logits[:1], [greedy._replace(said=[0], presence_penalty=1.5)])[0] == [1]
