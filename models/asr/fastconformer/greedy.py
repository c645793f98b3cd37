"""What the greedy decoders share: the likeliest token, once and for all."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.asr.fastconformer.decoder import Decoder, Heard, State, Token


class Emission(NamedTuple):
    """Tokens of a batch: each one's row, frame within the block, number and logits; a row's tokens are in order."""

    rows: Tensor
    frames: Tensor
    tokens: Tensor
    logits: Tensor


class GreedyDecoder(Decoder):
    """All its tokens are certain."""

    def __init__(self, capacity: int, vocabulary: int, initial: Mapping[str, Tensor]) -> None:
        phrase = torch.zeros((), dtype=torch.long, device=next(iter(initial.values())).device)
        super().__init__(capacity, vocabulary, {**initial, "phrase": phrase})

    def _decode(self, slots: Tensor, state: State, encoded: Tensor) -> list[Heard]:
        heard = [Heard([], []) for _ in slots]
        for emission in self._emit(slots, state, encoded):
            frames = state["frames"][emission.rows] + emission.frames
            state["last"].scatter_reduce_(0, emission.rows, frames, "amax")
            logprobs = emission.logits.log_softmax(-1).gather(1, emission.tokens[:, None])[:, 0]
            columns = (emission.rows, emission.tokens, frames, logprobs)
            for row, token, frame, logprob in zip(*(column.tolist() for column in columns), strict=True):
                heard[row].certain.append(Token(token, frame, logprob))
        return heard

    @abstractmethod
    def _emit(self, slots: Tensor, state: State, encoded: Tensor) -> list[Emission]:
        """Move the rows of `state` on by encoder frames `[B, T, width]` of `slots` `[B]`."""
