"""Hypotheses of a prefix beam search over CTC (Graves and Jaitly 2014), those of all streams as rows of tensors. Those
that come to the same tokens on different paths find each other by a hash.
"""

from typing import NamedTuple

import torch
from torch import Tensor

WIDTH = 32
"""Hypotheses of a stream."""
TAIL = 48
"""Tokens that a hypothesis may have and another of its stream lack."""
CROWDED = 32
"""Tokens of a tail above which the first ones are settled, so that there is room for those of some frames."""
NEVER = -torch.inf
_MULTIPLIER, _INCREMENT = 6_364_136_223_846_793_005, 1_442_695_040_888_963_407
"""Of Knuth's linear congruential generator, modulo 2^64."""


class Candidates(NamedTuple):
    """Tokens by which hypotheses may grow: which, `[B, C]`, and how likely they were heard, `[B, C]`; what each adds to
    each hypothesis as language, and the states of the n-gram model and of the phrases after it, `[B, WIDTH, C]`.
    """

    tokens: Tensor
    logprobs: Tensor
    gains: Tensor
    contexts: Tensor
    phrases: Tensor


class Hypotheses(NamedTuple):
    """`[B, WIDTH]`, and of tails `[B, WIDTH, TAIL]`. One whose log-probabilities are `NEVER` stands for none."""

    blank: Tensor
    """Log-probability of the paths that end with a blank,"""
    voiced: Tensor
    """and of those that end with the last token."""
    language: Tensor
    """What the tokens gained as language."""
    token: Tensor
    """The last one; the blank before the first."""
    context: Tensor
    """State of the n-gram model,"""
    phrase: Tensor
    """and of the phrases."""
    hash: Tensor
    """Of all tokens,"""
    parent: Tensor
    """and of all but the last."""
    length: Tensor
    """Tokens in the tail, which has what is not settled yet:"""
    tokens: Tensor
    """the tokens,"""
    begins: Tensor
    """where each begins,"""
    logprobs: Tensor
    """and its log-probability there."""

    @property
    def scores(self) -> Tensor:
        """By which they are compared."""
        return torch.logaddexp(self.blank, self.voiced) + self.language


def start(blank: int, context: int, device: torch.device) -> Hypotheses:
    """Those of one stream that has not begun, without its dimension: there is one, without tokens."""
    with device:
        never, zeros = torch.full((WIDTH,), NEVER), torch.zeros(WIDTH, dtype=torch.long)
        first, tail = torch.where(torch.arange(WIDTH) == 0, 0.0, never), torch.zeros(WIDTH, TAIL, dtype=torch.long)
        return Hypotheses(
            blank=first,
            voiced=never,
            language=torch.zeros(WIDTH),
            token=zeros + blank,
            context=zeros + context,
            phrase=zeros,
            hash=zeros,
            parent=zeros - 1,
            length=zeros,
            tokens=tail,
            begins=tail,
            logprobs=tail.float(),
        )


def extend(hypotheses: Hypotheses, logprobs: Tensor, candidates: Candidates, frame: Tensor) -> Hypotheses:
    """The best ones after a frame of log-probabilities `[B, vocabulary + 1]`, number `frame` `[B]` of each stream."""
    blank, voiced, longer = _paths(hypotheses, logprobs, candidates)
    same = torch.logaddexp(blank, voiced) + hypotheses.language
    gained = hypotheses.language[..., None] + candidates.gains
    chosen = torch.cat([same, (longer + gained).flatten(1)], 1).topk(WIDTH, 1).indices
    stays = chosen < WIDTH
    batch = torch.arange(len(chosen), device=chosen.device)[:, None]
    choices = candidates.tokens.shape[1]
    origin, choice = torch.where(stays, chosen, (chosen - WIDTH) // choices), (chosen - WIDTH) % choices
    token = candidates.tokens[batch, choice]
    old = Hypotheses(*(value[batch, origin] for value in hypotheses))
    place = old.length.clamp(max=TAIL - 1)[..., None]

    def appended(tail: Tensor, new: Tensor) -> Tensor:
        return tail.scatter(2, place, torch.where(stays[..., None], tail.gather(2, place), new[..., None]))

    return Hypotheses(
        blank=torch.where(stays, blank[batch, origin], NEVER),
        voiced=torch.where(stays, voiced[batch, origin], longer[batch, origin, choice]),
        language=torch.where(stays, old.language, gained[batch, origin, choice]),
        token=torch.where(stays, old.token, token),
        context=torch.where(stays, old.context, candidates.contexts[batch, origin, choice]),
        phrase=torch.where(stays, old.phrase, candidates.phrases[batch, origin, choice]),
        hash=torch.where(stays, old.hash, old.hash * _MULTIPLIER + (token + 1) * _INCREMENT),
        parent=torch.where(stays, old.parent, old.hash),
        length=old.length + ~stays,
        tokens=appended(old.tokens, token),
        begins=appended(old.begins, frame[:, None].expand_as(token)),
        logprobs=appended(old.logprobs, candidates.logprobs[batch, choice]),
    )


def _paths(hypotheses: Hypotheses, logprobs: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities after a frame of the paths to each hypothesis that end with a blank, and with its last token,
    `[B, WIDTH]`, and of the paths to those longer by each candidate, `[B, WIDTH, C]`.
    """
    blank, last = logprobs[:, -1:], logprobs.gather(1, hypotheses.token)
    total = torch.logaddexp(hypotheses.blank, hypotheses.voiced)
    # The last token once more is a new one only after a blank.
    is_last = candidates.tokens[:, None] == hypotheses.token[..., None]
    longer = torch.where(is_last, hypotheses.blank[..., None], total[..., None]) + candidates.logprobs[:, None]
    # What makes one hypothesis of another is one more path to it.
    is_child = hypotheses.hash[..., None] == hypotheses.parent[:, None]
    alike = hypotheses.token[..., None] == hypotheses.token[:, None]
    joining = torch.where(alike, hypotheses.blank[..., None], total[..., None]) + last[:, None]
    joining = torch.where(is_child, joining, NEVER).amax(1)
    longer = longer.masked_fill(is_child.float() @ is_last.float() > 0, NEVER)
    return total + blank, torch.logaddexp(hypotheses.voiced + last, joining), longer


def settle(hypotheses: Hypotheses) -> tuple[Hypotheses, Hypotheses, Tensor]:
    """Hypotheses without the tokens that all of a stream have in common, the best ones `[B]` with them, and how many
    those are `[B]`. Where a tail is crowded the best one's tokens are settled, and those that lack them are given up.

    Log-probabilities are reduced by the best one's, so that they do not lose precision with time.
    """
    scores = hypotheses.scores
    alive, rows = scores > NEVER, torch.arange(len(scores), device=scores.device)
    best = Hypotheses(*(value[rows, scores.argmax(1)] for value in hypotheses))
    place = torch.arange(TAIL, device=scores.device)
    shared = (hypotheses.tokens == best.tokens[:, None]) & (place < hypotheses.length[..., None])
    shared &= (place < best.length[:, None])[:, None]
    common = (shared | ~alive[..., None]).all(1).long().cumprod(1).sum(1)
    crowded = torch.where(alive, hypotheses.length, 0).amax(1) - CROWDED
    settled = torch.maximum(common, torch.minimum(crowded, best.length))
    alive &= (shared | (place >= settled[:, None, None])).all(2)
    later = (place + settled[:, None]).clamp(max=TAIL - 1)[:, None].expand_as(hypotheses.tokens)
    total = torch.logaddexp(best.blank, best.voiced)[:, None]
    kept = hypotheses._replace(
        blank=torch.where(alive, hypotheses.blank - total, NEVER),
        voiced=torch.where(alive, hypotheses.voiced - total, NEVER),
        language=hypotheses.language - best.language[:, None],
        parent=torch.where(alive, hypotheses.parent, -1),
        length=hypotheses.length - settled[:, None],
        tokens=hypotheses.tokens.gather(2, later),
        begins=hypotheses.begins.gather(2, later),
        logprobs=hypotheses.logprobs.gather(2, later),
    )
    return kept, best, settled
