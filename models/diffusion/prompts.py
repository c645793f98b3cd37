"""What each session wants painted: blends of prompts, and the way from one blend to the next."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec
import torch
from torch import Tensor

from models.diffusion.options import Restyling

_CACHED = 256


class _Painting(msgspec.Struct):
    """A slot's prompts: those it comes from, those it goes to, and frames still to go."""

    former: Restyling
    wanted: Restyling
    left: int


class PromptBook:
    """The embeddings of each slot's next frame. Texts are encoded once, whoever asks."""

    def __init__(self, embed: Callable[[str], Tensor], capacity: int) -> None:
        """`embed` encodes a text as `[tokens, width]`."""
        self._embed = lru_cache(_CACHED)(embed)
        blank = Restyling(prompt="")
        self._paintings = [_Painting(blank, blank, 0) for _ in range(capacity)]

    def set(self, slot: int, wanted: Restyling) -> None:
        """Paint this from the next frame on."""
        self._paintings[slot] = _Painting(wanted, wanted, 0)

    def change(self, slot: int, wanted: Restyling) -> None:
        """Begin to paint this; a way that is not finished goes on from its end."""
        former = self._paintings[slot].wanted
        if (former.blend, former.negative_prompt) != (wanted.blend, wanted.negative_prompt):
            self._paintings[slot] = _Painting(former, wanted, wanted.over_frames)

    def turn(self, slots: Sequence[int]) -> None:
        """A frame of each of `slots` is about to be painted."""
        for slot in slots:
            self._paintings[slot].left = max(0, self._paintings[slot].left - 1)

    def embeddings(self, slots: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of the prompts and of the negative prompts: `[B, tokens, width]` each."""
        paintings = [self._paintings[slot] for slot in slots]
        return torch.stack([*map(self._current, paintings)]), torch.stack(
            [self._embed(painting.wanted.negative_prompt) for painting in paintings]
        )

    def snapshot(self, slot: int) -> bytes:
        """What `restore` goes on from."""
        return msgspec.msgpack.encode(self._paintings[slot])

    def restore(self, slot: int, snapshot: bytes) -> None:
        """Set the slot to a snapshot."""
        self._paintings[slot] = msgspec.msgpack.decode(snapshot, type=_Painting)

    def _current(self, painting: _Painting) -> Tensor:
        wanted = self._blend(painting.wanted)
        if not painting.left:
            return wanted
        return torch.lerp(wanted, self._blend(painting.former), painting.left / (painting.wanted.over_frames + 1))

    def _blend(self, restyling: Restyling) -> Tensor:
        whole = sum(blend.weight for blend in restyling.blend)
        return torch.stack([self._embed(b.prompt) * (b.weight / whole) for b in restyling.blend]).sum(0)
