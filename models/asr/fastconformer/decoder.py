"""What the decoders share: the state of all slots, and tokens with their time and probability."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from models.asr.fastconformer.boosting import Boosting, PhrasePool
from models.base import StreamError

BLOCK_FRAMES = 16
"""Longer input is decoded in blocks, since work and memory of one grow with its frames, in a transducer with their
square.
"""

State = dict[str, Tensor]
"""Tensors `[rows, ...]`; all slots' in a decoder, a batch's in a step."""


class Token(NamedTuple):
    """A token, the encoder frame (80 ms each, since `reset`) where it was recognised, and its log-probability."""

    id: int
    frame: int
    logprob: float


class Heard(NamedTuple):
    """What frames add to a stream: tokens that stay, and those that seem to follow, which later frames may change."""

    certain: list[Token]
    likely: list[Token]


class Decoder(ABC):
    """Decoding of many streams at once. A stream's tokens do not depend on its neighbours."""

    def __init__(self, capacity: int, vocabulary: int, initial: Mapping[str, Tensor]) -> None:
        """`initial` is the state of one slot, without what is the same in all decoders."""
        device = next(iter(initial.values())).device
        number = torch.zeros((), dtype=torch.long, device=device)
        self.capacity = capacity
        self.phrases = PhrasePool(capacity, vocabulary, device)
        self._initial = {**initial, "frames": number, "last": number - 1}
        self._state = {name: value.expand(capacity, *value.shape).clone() for name, value in self._initial.items()}

    def reset(self, slot: int, boosting: Boosting | None = None) -> None:
        """Begin a stream, or another utterance of it."""
        for name, value in self._initial.items():
            self._state[name][slot] = value
        self.phrases.set(slot, boosting)

    def step(self, slots: Sequence[int], encoded: Tensor) -> list[Heard]:
        """What encoder frames `[B, T, width]` add to each of `slots`. If it raises, nothing has changed."""
        index, state, heard = self._advance(slots, encoded)
        for name, value in state.items():
            self._state[name][index] = value
        return heard

    def peek(self, slots: Sequence[int], encoded: Tensor) -> list[Heard]:
        """As `step`, but the slots stay where they are."""
        return self._advance(slots, encoded)[2]

    def silence(self, slot: int) -> int:
        """Frames since the last token, or since `reset`."""
        return int(self._state["frames"][slot] - self._state["last"][slot]) - 1

    def snapshot(self, slot: int) -> bytes:
        """The slot's state, from which `restore` goes on; its phrases are not part of it."""
        return msgspec.msgpack.encode(
            {name: value[slot].cpu().numpy().tobytes() for name, value in self._state.items()}
        )

    def restore(self, slot: int, snapshot: bytes) -> None:
        """Set a slot, `reset` with the same phrases, to a snapshot. Raises StreamError for another decoder's."""
        try:
            state = msgspec.msgpack.decode(snapshot, type=dict[str, bytes])
            rows = {name: self._row(name, state[name]) for name in self._state}
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            raise StreamError(f"the snapshot does not fit this decoder: {error}") from error
        phrase = rows["phrase"]
        if not bool(((phrase >= 0) & (phrase < self.phrases.states(slot))).all()):
            raise StreamError("the snapshot does not fit the slot's phrases")
        for name, row in rows.items():
            self._state[name][slot] = row

    def _row(self, name: str, data: bytes) -> Tensor:
        initial = self._initial[name].cpu()
        values = np.frombuffer(data, initial.numpy().dtype).reshape(initial.shape)
        return torch.from_numpy(values.copy())

    @torch.inference_mode()
    def _advance(self, slots: Sequence[int], encoded: Tensor) -> tuple[Tensor, State, list[Heard]]:
        index = torch.tensor(slots, dtype=torch.long, device=encoded.device)
        state = {name: value[index] for name, value in self._state.items()}
        heard = [Heard([], []) for _ in slots]
        for block in torch.split(encoded, BLOCK_FRAMES, 1):
            found = self._decode(index, state, block)
            heard = [Heard([*old.certain, *new.certain], new.likely) for old, new in zip(heard, found, strict=True)]
            state["frames"] += block.shape[1]
        return index, state, heard

    @abstractmethod
    def _decode(self, slots: Tensor, state: State, encoded: Tensor) -> list[Heard]:
        """Move the rows of `state`, among them `last`, on by encoder frames `[B, T, width]` of `slots` `[B]`."""
