"""Phrases that a stream's user expects, made likelier than what merely sounds like them.

An automaton (Aho & Corasick 1975) follows the tokens written so far, as in k2's `ContextGraph` and NeMo's phrase
boosting (Andrusenko et al. 2025, "TurboBias"): along a phrase each token gains, and the gain is lost where the phrase
is left before its end. Boosting changes which token is written, never whether one is: a blank stays a blank.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.asr.fastconformer.ragged import ranges
from models.asr.fastconformer.vocabulary import Vocabulary, VocabularyError
from models.base import StreamError

MAX_PHRASES = 1_000
MAX_CHARACTERS = 100
MAX_ARCS = 400_000
"""Bounds the memory of phrases that repeat one another's ends; others stay far below it."""
DEFAULT_WEIGHT = 2.0
"""What the first token of a phrase gains, in nats."""
DEEPEST_GAIN = 4.0
"""In weights. A greedy decoder cannot go back, so half a phrase must not force the other half at any price."""


class Boosting(NamedTuple):
    """The automaton of one stream. State 0 is outside of all phrases; its arcs are dense `[tokens]`, those of the
    others are `counts` from `begins` on in three lists. An arc has a token, what it gains in greedy decoding, and the
    state after it. In beam search, which can go back, it is states that gain: `reached` `[states]` while one is there,
    of which `left` is lost with the next token.
    """

    first_gains: Tensor
    first_states: Tensor
    begins: Tensor
    counts: Tensor
    reached: Tensor
    left: Tensor
    tokens: Tensor
    gains: Tensor
    states: Tensor


def boost(
    phrases: Sequence[str], vocabulary: Vocabulary, weight: float = DEFAULT_WEIGHT, param: str = "phrases"
) -> Boosting:
    """Compile `phrases`. Raises StreamError, which names `param`, for too many, too long or unwritable ones."""
    if len(phrases) > MAX_PHRASES:
        raise StreamError(f"{param}: {len(phrases)} phrases, at most {MAX_PHRASES} are taken", param=param)
    trie = _Trie()
    for number, phrase in enumerate(phrases):
        name = f"{param}[{number}]"
        if len(phrase) > MAX_CHARACTERS:
            raise StreamError(f"{name}: {len(phrase)} characters, at most {MAX_CHARACTERS} are taken", param=name)
        try:
            trie.add(vocabulary.encode(phrase))
        except VocabularyError as error:
            raise StreamError(f"{name}: {error}", param=name) from error
    arcs = trie.arcs(param)
    depths = trie.depths()
    gains = [weight * min(DEEPEST_GAIN, depth) for depth in depths]
    first_gain, first_state = torch.zeros(len(vocabulary)), torch.zeros(len(vocabulary), dtype=torch.long)
    for token, state in trie.children[0].items():
        first_gain[token], first_state[token] = gains[state], state
    count = torch.tensor([len(own) for own in arcs])
    states = [state for own in arcs for state in own.values()]
    return Boosting(
        first_gain,
        first_state,
        count.cumsum(0) - count,
        count,
        weight * torch.tensor(depths),
        weight * torch.tensor([0 if state in trie.ends else depth for state, depth in enumerate(depths)]),
        torch.tensor([token for own in arcs for token in own], dtype=torch.long),
        torch.tensor([gains[state] for state in states], dtype=torch.float32),
        torch.tensor(states, dtype=torch.long),
    )


class _Trie:
    """`children[state]` is the state after each token; a state's number is above its parent's."""

    def __init__(self) -> None:
        self.children: list[dict[int, int]] = [{}]
        self._parents = [0]
        self.ends = {0}

    def add(self, tokens: Sequence[int]) -> None:
        state = 0
        for token in tokens:
            if token not in self.children[state]:
                self.children[state][token] = len(self.children)
                self.children.append({})
                self._parents.append(state)
            state = self.children[state][token]
        self.ends.add(state)

    def depths(self) -> list[float]:
        """Of each state, in tokens since its phrase began, or since the last phrase that ends on the way to it."""
        depths = [0.0]
        for parent in self._parents[1:]:
            depths.append(1.0 if parent in self.ends else 1 + depths[parent])
        return depths

    def arcs(self, param: str) -> list[dict[int, int]]:
        """The state after each token that goes on within some phrase, which may be another that began later; none for
        state 0.
        """
        arcs: list[dict[int, int]] = [{} for _ in self.children]
        fallback = [0] * len(self.children)
        queue, total = deque([0]), 0
        while queue:
            state = queue.popleft()
            other = arcs[fallback[state]]
            for token, child in self.children[state].items():
                fallback[child] = other.get(token, self.children[0].get(token, 0)) if state else 0
                queue.append(child)
            if state:
                arcs[state] = other | self.children[state]
            total += len(arcs[state])
            if total > MAX_ARCS:
                raise StreamError(f"{param}: the phrases have too much in common with one another", param=param)
        return arcs


class PhrasePool:
    """The automata of all slots, as tensors that a step reads at once."""

    def __init__(self, capacity: int, vocabulary: int, device: torch.device) -> None:
        self._slots: list[Boosting | None] = [None] * capacity
        self._first_gains = torch.zeros(capacity, vocabulary, device=device)
        self._first_states = torch.zeros(capacity, vocabulary, dtype=torch.long, device=device)
        self._base = torch.zeros(capacity, dtype=torch.long, device=device)
        self._merge()

    def set(self, slot: int, boosting: Boosting | None) -> None:
        """Give a slot its phrases."""
        if boosting is self._slots[slot]:
            return
        self._slots[slot] = boosting
        self._first_gains[slot] = 0 if boosting is None else boosting.first_gains
        self._first_states[slot] = 0 if boosting is None else boosting.first_states
        self._merge()

    @property
    def empty(self) -> bool:
        """Whether no slot has phrases."""
        return not any(self._slots)

    def states(self, slot: int) -> int:
        """How many states the slot's automaton has."""
        boosting = self._slots[slot]
        return 1 if boosting is None else len(boosting.begins)

    def choose(self, slots: Tensor, states: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest token and the state after it, both `[N]`, from the states `[N]` of `slots` `[N]` and logits
        `[N, vocabulary]` without the blank.
        """
        if self.empty:
            return logits.argmax(-1), states
        gains, following = self.arcs(slots, states)
        tokens = (logits + gains).argmax(-1)
        return tokens, following.gather(1, tokens[:, None])[:, 0]

    def arcs(self, slots: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """What every token gains and the state after it, both `[N, vocabulary]`, from the states `[N]` of `slots`."""
        automaton = self._base[slots] + states
        arcs, rows = ranges(self._begins[automaton], self._counts[automaton])
        gains, following = self._first_gains[slots], self._first_states[slots]
        gains[rows, self._tokens[arcs]] = self._gains[arcs]
        following[rows, self._tokens[arcs]] = self._states[arcs]
        return gains, following

    def moves(self, slots: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """As `arcs`, for hypotheses: what is gained by half a phrase is lost where it is not completed."""
        _, following = self.arcs(slots, states)
        base = self._base[slots]
        return self._reached[base[:, None] + following] - self._left[base + states][:, None], following

    def _merge(self) -> None:
        """All slots' lists one after the other; the first state of all is that of slots without phrases."""
        device = self._base.device
        none = torch.zeros(0, dtype=torch.long)
        nothing = none.new_zeros(1)
        outside = Boosting(none, none, nothing, nothing, nothing.float(), nothing.float(), none, none.float(), none)
        merged, states, arcs = [outside], 1, 0
        self._base.zero_()
        for slot, boosting in enumerate(self._slots):
            if boosting is not None:
                self._base[slot] = states
                merged.append(boosting._replace(begins=boosting.begins + arcs))
                states += len(boosting.begins)
                arcs += len(boosting.tokens)
        lists = (torch.cat(parts).to(device) for parts in list(zip(*merged, strict=True))[2:])
        self._begins, self._counts, self._reached, self._left, self._tokens, self._gains, self._states = lists
