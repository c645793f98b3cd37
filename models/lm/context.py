"""Which tokens stay when a conversation outgrows the context, and which of them the cache already holds.

Overflow is handled by cutting the token history and prefilling what is kept anew: exact, as the result is that of a
fresh stream with those tokens (moved and re-rotated K/V would still carry what the dropped tokens wrote into them).
The cut is a pure function of the length, and moves by a whole stride at a time. So a growing conversation is cut at the
same place turn after turn, its cache stays valid, and a restored stream cuts as the original did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

STRIDES = 4
"""A cut drops a multiple of 1/STRIDES of the context."""


@dataclass(frozen=True)
class Window:
    """Keeps a pinned prefix (at least `sinks` tokens: arXiv:2309.17453) and the most recent tokens."""

    context: int
    sinks: int

    @property
    def stride(self) -> int:
        """Tokens that one cut drops."""
        return self.context // STRIDES

    @property
    def max_pinned(self) -> int:
        """Longest prefix that leaves room for a recent window."""
        return self.context - 2 * self.stride

    def dropped(self, length: int, pinned: int) -> range:
        """Positions, of a history of `length` tokens, that do not stay."""
        prefix = min(max(pinned, self.sinks), self.max_pinned)
        strides = -(-max(0, length - self.context) // self.stride)
        return range(prefix, prefix + strides * self.stride)


@dataclass
class History:
    """One slot's tokens. `kept` are those inside the context; the cache holds the K/V of `kept[:cached]`."""

    window: Window
    tokens: list[int] = field(default_factory=list)
    pinned: int = 0
    kept: list[int] = field(default_factory=list)
    cached: int = 0

    def replace(self, tokens: Sequence[int], pinned: int) -> None:
        """Set the history, whose first `pinned` tokens must stay. The common prefix with the former remains cached."""
        self.tokens, self.pinned = list(tokens), pinned
        self._cut()

    def append(self, token: int) -> None:
        """Add a token that was generated."""
        self.tokens.append(token)
        self.kept.append(token)
        if len(self.kept) > self.window.context:
            self._cut()

    @property
    def waiting(self) -> int:
        """Kept tokens that are not in the cache yet."""
        return len(self.kept) - self.cached

    def next_tokens(self, count: int) -> list[int]:
        """The next `count` tokens to be cached."""
        return self.kept[self.cached : self.cached + count]

    def _cut(self) -> None:
        dropped = self.window.dropped(len(self.tokens), self.pinned)
        kept = self.tokens[: dropped.start] + self.tokens[dropped.stop :]
        common = _common_prefix(self.kept[: self.cached], kept)
        # The last token is always computed, since its logits are wanted.
        self.kept, self.cached = kept, min(common, len(kept) - 1)


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
