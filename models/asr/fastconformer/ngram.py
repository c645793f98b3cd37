"""An n-gram model of a vocabulary's tokens, as an automaton that scores all tokens after many contexts at once (after
Bataev et al. 2025, "NGPU-LM", arXiv 2505.22857).

It is a trie. An arc is an n-gram, which goes from the state of its first tokens; every arc but those of the highest
order is a state too, under the same number. Arcs are numbered by order, then context, then token, so among a token's
arcs from a context and from its ever shorter ends, the one that holds (Katz 1987) has the highest number.
"""

from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.asr.fastconformer.ragged import ranges
from models.asr.fastconformer.weights import CheckpointError

FILE = "ngram.safetensors"


class Fusion(msgspec.Struct, frozen=True):
    """How it counts beside the recogniser (shallow fusion, arXiv 1503.03535): its log-probabilities times `weight`, and
    `word_bonus` nats a word, since it makes every further one less likely.
    """

    weight: float = 0.6
    word_bonus: float = 1.0


class Arcs(NamedTuple):
    """The trie. Its first arcs, those of the empty context, are one for each token and one for the beginning of an
    utterance. Logarithms are natural.

    `tokens` int16 `[arcs]`; `weights` float16 `[arcs]`, log-probabilities of tokens in their contexts; `backoffs`
    float16 `[states]`, what is added to those of a state's shorter context where it has no arc; `children` int16
    `[states]`, how many arcs go from each.
    """

    tokens: Tensor
    weights: Tensor
    backoffs: Tensor
    children: Tensor


def write(file: Path, arcs: Arcs, fusion: Fusion) -> None:
    """Write what `read` reads."""
    save_file(arcs._asdict(), file, {name: str(value) for name, value in msgspec.structs.asdict(fusion).items()})


def read(file: Path) -> tuple[Arcs, Fusion]:
    """Raises CheckpointError."""
    try:
        with safe_open(file, "pt") as opened:
            arcs = Arcs(**{name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
            return arcs, msgspec.convert(opened.metadata() or {}, Fusion, strict=False)
    except (OSError, SafetensorError, TypeError, msgspec.ValidationError) as error:
        raise CheckpointError(f"{file.name}: {error}") from error


class NGram:
    """`start` is the state in which an utterance begins."""

    def __init__(self, arcs: Arcs, fusion: Fusion, vocabulary: int) -> None:
        """`vocabulary`: how many tokens there are, without the blank. Raises CheckpointError if the arcs are no trie of
        them that has the end of each of its n-grams.
        """
        self.fusion = fusion
        tokens, counts = arcs.tokens.long(), arcs.children.long()
        first, states = vocabulary + 1, len(counts)
        within = bool((tokens >= 0).all() and (tokens[first:] < vocabulary).all() and (counts >= 0).all())
        whole = first + int(counts.sum()) == len(tokens) == len(arcs.weights) and states == len(arcs.backoffs)
        if not within or not whole or not torch.equal(tokens[:first], torch.arange(first)):
            raise CheckpointError(f"not an n-gram model of {vocabulary} tokens")
        suffixes, orders = _suffixes(tokens, counts, first)
        if len(orders) < 2 or states != len(tokens) - orders[-1]:
            raise CheckpointError(f"{states} states for {len(tokens)} n-grams")
        numbers, nothing = torch.arange(len(tokens)), torch.zeros(1, dtype=torch.long)
        self.start = vocabulary
        self._vocabulary, self._highest = vocabulary, len(orders)
        self._tables = {
            "tokens": tokens,
            "weights": arcs.weights.float(),
            "orders": torch.repeat_interleave(torch.tensor(orders)),
            "successors": torch.where(numbers < states, numbers, suffixes),
            "suffixes": torch.cat([suffixes[:states], nothing + states]),
            "backoffs": torch.cat([arcs.backoffs.float(), nothing.float()]),
            "begins": torch.cat([counts.cumsum(0) - counts + first, nothing]),
            "counts": torch.cat([counts, nothing]),
        }

    def to(self, device: torch.device) -> Self:
        """Itself, moved there."""
        self._tables = {name: table.to(device) for name, table in self._tables.items()}
        return self

    def __call__(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of tokens `[N, C]` after states `[N]`, and the state after each: both `[N, C]`."""
        tables, vocabulary = self._tables, self._vocabulary
        contexts = [states]
        for _ in range(self._highest - 2):
            contexts.append(tables["suffixes"][contexts[-1]])
        chain = torch.stack(contexts, 1)
        arcs, owners = ranges(tables["begins"][chain].flatten(), tables["counts"][chain].flatten())
        longest = torch.arange(vocabulary, device=states.device).repeat(len(states), 1)
        places = owners // chain.shape[1] * vocabulary + tables["tokens"][arcs]
        longest.view(-1).scatter_reduce_(0, places, arcs, "amax")
        best = longest.gather(1, tokens)
        lost = functional.pad(tables["backoffs"][chain].cumsum(1), (1, 0))
        shortened = tables["orders"][states][:, None] + 1 - tables["orders"][best]
        return tables["weights"][best] + lost.gather(1, shortened), tables["successors"][best]


def load(directory: Path, vocabulary: int) -> NGram | None:
    """That of the checkpoint in `directory`, if it has one, for so many tokens. Raises CheckpointError."""
    file = directory / FILE
    return NGram(*read(file), vocabulary) if file.exists() else None


def _suffixes(tokens: Tensor, counts: Tensor, first: int) -> tuple[Tensor, list[int]]:
    """The arc of each n-gram without its first token `[arcs]`, the number of states for one of a single token; and how
    many n-grams there are of each order. `first` of them have a single token.
    """
    states = len(counts)
    parents = torch.repeat_interleave(counts)
    keys = parents * first + tokens[first:]
    suffixes = torch.full_like(tokens, states)
    orders = [first]
    begin, end = 0, first
    while end < len(tokens):
        begin, end = end, end + int(counts[begin:end].sum())
        if begin == end:
            raise CheckpointError("n-grams without a context")
        wanted = suffixes[parents[begin - first : end - first]] * first + tokens[begin:end]
        found = tokens[begin:end] if len(orders) == 1 else first + torch.searchsorted(keys, wanted)
        if len(orders) > 1 and not torch.equal(keys[(found - first).clamp(max=len(keys) - 1)], wanted):
            raise CheckpointError(f"the end of an n-gram of {len(orders) + 1} tokens is missing")
        suffixes[begin:end] = found
        orders.append(end - begin)
    return suffixes, orders
