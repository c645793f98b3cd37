"""Choosing the next token of many streams at once, each by its own rules and its own random numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NUCLEUS_GUESS = 256
"""Tokens sorted at first in search of the nucleus; sorting a whole vocabulary costs far more."""
NUCLEUS_GROWTH = 16
RANDOM_BITS = 53


class Choice(NamedTuple):
    """How one row is sampled. Greedy at temperature 0; `top_k` 0 and `top_p` 1 cut nothing.

    The random number is Philox keyed by (`seed`, `position`), so it depends on nothing else: not on the batch, the
    neighbours, or how often the stream was moved.
    """

    temperature: float
    top_p: float
    top_k: int
    seed: int
    position: int
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time that the reply has said it, as in the OpenAI protocol."""
    presence_penalty: float = 0.0
    """Subtracted once from the logit of each token that the reply has said."""
    said: Sequence[int] = ()
    """The reply's tokens so far."""


@torch.inference_mode()
def sample(logits: Tensor, choices: Sequence[Choice], allowed: Tensor | None = None) -> tuple[list[int], list[float]]:
    """One token for each row of `logits` (fp32 `[n, vocab]`) and its log-probability under the unmodified logits.

    `allowed` (bool `[n, vocab]`) forbids tokens, for constrained decoding; a row must allow at least one.
    """
    penalised = _penalise(logits, choices)
    masked = penalised if allowed is None else penalised.masked_fill(~allowed, float("-inf"))
    tokens = _argmax(masked)
    drawn = [row for row, choice in enumerate(choices) if choice.temperature > 0]
    if drawn:
        tokens[drawn] = _draw(masked[drawn], [choices[row] for row in drawn])
    logprobs = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), logprobs.tolist()


def _penalise(logits: Tensor, choices: Sequence[Choice]) -> Tensor:
    penalties = [
        (row, token, penalty)
        for row, choice in enumerate(choices)
        for tokens, penalty in (
            (choice.said, choice.frequency_penalty),
            (set(choice.said), choice.presence_penalty),
        )
        if penalty
        for token in tokens
    ]
    if not penalties:
        return logits
    rows, tokens, amounts = zip(*penalties, strict=True)
    place = (torch.tensor(rows, device=logits.device), torch.tensor(tokens, device=logits.device))
    return logits.index_put(place, -torch.tensor(amounts, device=logits.device), accumulate=True)


def _argmax(logits: Tensor) -> Tensor:
    """Index of each row's maximum. On a CPU numpy finds it in a tenth of torch's time."""
    return torch.from_numpy(logits.numpy().argmax(-1)) if logits.device.type == "cpu" else logits.argmax(-1)


def _draw(logits: Tensor, choices: Sequence[Choice]) -> Tensor:
    """Sample rows by inverting the cumulative distribution: int64 `[n]`."""
    temperatures, top_ps, top_ks = (
        torch.tensor(column, device=logits.device)[:, None]
        for column in zip(*((choice.temperature, choice.top_p, choice.top_k) for choice in choices), strict=True)
    )
    # Subtracting the maximum first keeps a tiny temperature from overflowing.
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperatures
    scaled = _keep_top_k(scaled, top_ks)
    probabilities = _keep_nucleus(scaled.softmax(-1), top_ps)
    cumulative = probabilities.double().cumsum(-1)
    uniform = torch.tensor([_uniform(choice.seed, choice.position) for choice in choices], device=logits.device)
    wanted = uniform.double()[:, None] * cumulative[:, -1:]
    # The first token whose cumulative probability exceeds the target; never one of probability 0.
    return torch.searchsorted(cumulative, wanted, right=True)[:, 0]


def _keep_top_k(scaled: Tensor, top_ks: Tensor) -> Tensor:
    most = min(int(top_ks.max()), scaled.shape[1])
    if most == 0:
        return scaled
    ranked = scaled.topk(most).values
    least = ranked.gather(1, top_ks.clamp(1, most) - 1)
    return scaled.masked_fill((scaled < least) & (top_ks > 0), float("-inf"))


def _keep_nucleus(probabilities: Tensor, top_ps: Tensor) -> Tensor:
    """Zero what is less probable than the smallest set of tokens with mass `top_ps` (arXiv:1904.09751)."""
    if bool((top_ps >= 1).all()):
        return probabilities
    vocab = probabilities.shape[1]
    count = min(NUCLEUS_GUESS, vocab)
    while True:
        ranked = probabilities.topk(count).values
        before = ranked.cumsum(-1) - ranked
        inside = before < top_ps
        if count == vocab or not bool((inside[:, -1:] & (top_ps < 1)).any()):
            break
        count = min(count * NUCLEUS_GROWTH, vocab)
    least = ranked.masked_fill(~inside, float("inf")).amin(-1, keepdim=True)
    return probabilities.masked_fill((probabilities < least) & (top_ps < 1), 0)


def _uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that is a function of (seed, position)."""
    raw = int(np.random.Philox(key=seed, counter=position).random_raw())
    return (raw >> (64 - RANDOM_BITS)) * 2.0**-RANDOM_BITS
