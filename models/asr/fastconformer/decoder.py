"""What the greedy decoders share: the state of all slots, and tokens with their time and probability."""

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
"""Longer input is decoded in blocks, since work and memory of one grow with the square of its frames."""

State = dict[str, Tensor]
"""Tensors `[rows, ...]`; all slots' in a decoder, a batch's in a step."""


class Token(NamedTuple):
    """A token, the encoder frame (80 ms each, since `reset`) where it was recognised, and its log-probability."""

    id: int
    frame: int
    logprob: float


class Emission(NamedTuple):
    """Tokens of a batch: each one's row, frame within the block, number and logits; a row's tokens are in order."""

    rows: Tensor
    frames: Tensor
    tokens: Tensor
    logits: Tensor


class Decoder(ABC):
    """Greedy decoding of many streams at once. A stream's tokens do not depend on its neighbours."""

    def __init__(self, capacity: int, vocabulary: int, initial: Mapping[str, Tensor]) -> None:
        """`initial` is the state of one slot, without what is the same in all decoders."""
        device = next(iter(initial.values())).device
        number = torch.zeros((), dtype=torch.long, device=device)
        self.capacity = capacity
        self.phrases = PhrasePool(capacity, vocabulary, device)
        self._initial = {**initial, "frames": number, "last": number - 1, "phrase": number}
        self._state = {name: value.expand(capacity, *value.shape).clone() for name, value in self._initial.items()}

    def reset(self, slot: int, boosting: Boosting | None = None) -> None:
        """Begin a stream, or another utterance of it."""
        for name, value in self._initial.items():
            self._state[name][slot] = value
        self.phrases.set(slot, boosting)

    def step(self, slots: Sequence[int], encoded: Tensor) -> list[list[Token]]:
        """The tokens that encoder frames `[B, T, width]` add to each of `slots`. If it raises, nothing has changed."""
        index, state, tokens = self._advance(slots, encoded)
        for name, value in state.items():
            self._state[name][index] = value
        return tokens

    def peek(self, slots: Sequence[int], encoded: Tensor) -> list[list[Token]]:
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
        if not 0 <= rows["phrase"] < self.phrases.states(slot):
            raise StreamError("the snapshot does not fit the slot's phrases")
        for name, row in rows.items():
            self._state[name][slot] = row

    def _row(self, name: str, data: bytes) -> Tensor:
        initial = self._initial[name].cpu()
        values = np.frombuffer(data, initial.numpy().dtype).reshape(initial.shape)
        return torch.from_numpy(values.copy())

    @torch.inference_mode()
    def _advance(self, slots: Sequence[int], encoded: Tensor) -> tuple[Tensor, State, list[list[Token]]]:
        index = torch.tensor(slots, dtype=torch.long, device=encoded.device)
        state = {name: value[index] for name, value in self._state.items()}
        tokens: list[list[Token]] = [[] for _ in slots]
        for block in torch.split(encoded, BLOCK_FRAMES, 1):
            for emission in self._decode(index, state, block):
                frames = state["frames"][emission.rows] + emission.frames
                state["last"].scatter_reduce_(0, emission.rows, frames, "amax")
                logprobs = emission.logits.log_softmax(-1).gather(1, emission.tokens[:, None])[:, 0]
                columns = (emission.rows, emission.tokens, frames, logprobs)
                for row, token, frame, logprob in zip(*(column.tolist() for column in columns), strict=True):
                    tokens[row].append(Token(token, frame, logprob))
            state["frames"] += block.shape[1]
        return index, state, tokens

    @abstractmethod
    def _decode(self, slots: Tensor, state: State, encoded: Tensor) -> list[Emission]:
        """Move the rows of `state` on by encoder frames `[B, T, width]` of `slots` `[B]`."""
