"""The encoder in streaming form (Noroozi et al. 2023, arXiv 2312.17279), over slots.

A step takes one chunk of each of some streams. What a stream keeps does not grow with it, and a step copies nothing
of other streams: K/V live in a ring of one chunk more than the left context, every convolution keeps the frames that
its next output sees. All is exact: chunk by chunk gives what `Encoder` gives for the whole utterance.
"""

import math
from collections.abc import Sequence

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from models.asr.fastconformer.block import Block
from models.asr.fastconformer.config import SUBSAMPLING
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.prompt import StreamingPrompt
from models.asr.fastconformer.streaming_block import StreamingBlock, Window
from models.asr.fastconformer.streaming_subsampling import StreamingSubsampling

_UNSET = -1


def chunk_mels(lookahead: int, first: bool) -> int:
    """Mel frames of a stream's first chunk, or of a later one."""
    return SUBSAMPLING * lookahead + 1 if first else SUBSAMPLING * (lookahead + 1)


class StreamingEncoder:
    """The encoder of `network` in `dtype`, on the network's device, for `capacity` streams at once.

    A stream's look-ahead is that of its first step; only `reset` frees it to change.
    """

    @torch.no_grad()
    def __init__(self, network: FastConformer, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        config = network.config.encoder
        self.config = config
        self._dtype = dtype
        self._device = next(network.parameters()).device
        scale = math.sqrt(config.width) if config.scale_input else 1.0
        mel_bins = network.config.frontend.mel_bins
        self._subsampling = StreamingSubsampling(network.encoder.pre_encode, mel_bins, scale, dtype)
        longest = max(config.lookaheads) + 1
        self._blocks: list[StreamingBlock] = []
        for block in network.encoder.layers:
            assert isinstance(block, Block)
            self._blocks.append(StreamingBlock(block, config.left_context, longest, dtype))
        self._prompt, kernel = network.config.prompt, network.prompt_kernel
        self._tell_language = None if kernel is None else StreamingPrompt(kernel, config.width, dtype)
        self._prompts = torch.zeros(capacity, dtype=torch.long, device=self._device)
        self._ring = config.left_context + longest
        self._pairs = self._zeros(config.layers, capacity, self._ring, 2 * config.width)
        """Keys and values."""
        self._kept = self._zeros(config.layers, capacity, config.kernel - 1, config.width)
        """Inputs that the blocks' convolutions see again."""
        self._stages = [self._zeros(capacity, *shape) for shape in self._subsampling.shapes]
        """Inputs that the subsampling's see again."""
        self._frames = np.zeros(capacity, np.int64)
        self._lookaheads = np.full(capacity, _UNSET)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self._dtype, device=self._device)

    @property
    def bytes_per_slot(self) -> int:
        """State of one stream, whatever its length."""
        tensors = (self._pairs, self._kept, *self._stages)
        return sum(tensor.nbytes for tensor in tensors) // len(self._frames)

    def reset(self, slot: int, language: str | None = None) -> None:
        """Begin a new stream, in `language` if the network is told one."""
        self._prompts[slot] = self._prompt.number(language) if self._prompt else 0
        self._pairs[:, slot] = 0
        self._kept[:, slot] = 0
        for stage in self._stages:
            stage[slot] = 0
        self._frames[slot] = 0
        self._lookaheads[slot] = _UNSET

    def step(self, slots: Sequence[int], mels: Tensor, lookahead: int) -> Tensor:
        """The next chunk of each slot: mels `[B, chunk_mels, mel_bins]` to `[B, lookahead + 1, width]`.

        Raises ValueError if the chunk is not that long, or if the slots are not all at their first chunk or all past
        it. If a step raises, its slots are as before.
        """
        first = self._first(slots, lookahead)
        if mels.shape[1] != chunk_mels(lookahead, first):
            raise ValueError(f"a chunk must have {chunk_mels(lookahead, first)} mel frames, got {mels.shape[1]}")
        encoded = self._forward(slots, mels, first, last=False)
        self._frames[slots] += lookahead + 1
        self._lookaheads[slots] = lookahead
        return encoded

    def finish(self, slots: Sequence[int], mels: Tensor, lookahead: int) -> Tensor:
        """The end of utterances: the mels that remain, `[B, M, mel_bins]`, to `[B, T, width]`.

        M is at most a chunk, and may be 0. All frames together are those of the offline form. The streams are left as
        they were, so that they may go on with a step. Raises ValueError as `step` does.
        """
        first = self._first(slots, lookahead)
        if mels.shape[1] > chunk_mels(lookahead, first):
            raise ValueError(f"a tail has at most {chunk_mels(lookahead, first)} mel frames, got {mels.shape[1]}")
        if not first and not mels.shape[1]:
            return self._zeros(len(slots), 0, self.config.width)
        return self._forward(slots, mels, first, last=True)

    def snapshot(self, slot: int) -> bytes:
        """The slot's state; its length depends on the stream's only while that is shorter than the left context."""
        held = min(int(self._frames[slot]), self.config.left_context)
        tensors = {
            "position": torch.tensor([self._frames[slot], self._lookaheads[slot], self._prompts[slot]]),
            "pairs": self._pairs[:, slot, self._places(slot, held)],
            "kept": self._kept[:, slot].contiguous(),
        }
        tensors |= {f"stage{index}": stage[slot] for index, stage in enumerate(self._stages)}
        return safetensors.torch.save({name: tensor.cpu() for name, tensor in tensors.items()})

    def restore(self, slot: int, snapshot: bytes) -> None:
        """Set the slot to a snapshot of an encoder with the same weights and dtype."""
        tensors = safetensors.torch.load(snapshot)
        self.reset(slot)
        self._frames[slot], self._lookaheads[slot], self._prompts[slot] = tensors["position"].tolist()
        pairs = tensors["pairs"].to(self._device)
        self._pairs[:, slot, self._places(slot, pairs.shape[1])] = pairs
        self._kept[:, slot] = tensors["kept"].to(self._device)
        for index, stage in enumerate(self._stages):
            stage[slot] = tensors[f"stage{index}"].to(self._device)

    def _places(self, slot: int, held: int) -> Tensor:
        """Where in its ring the last `held` frames of a slot are, in the order of time."""
        frames = int(self._frames[slot])
        return (torch.arange(frames - held, frames) % self._ring).to(self._device)

    def _first(self, slots: Sequence[int], lookahead: int) -> bool:
        """Whether the slots are before their first chunk."""
        if lookahead not in self.config.lookaheads:
            raise ValueError(f"lookahead must be one of {self.config.lookaheads}, got {lookahead}")
        chosen = self._lookaheads[slots]
        if not np.isin(chosen, (_UNSET, lookahead)).all():
            raise ValueError(f"lookahead is {chosen.tolist()} until a reset, got {lookahead}")
        first = self._frames[slots] == 0
        if first.any() != first.all():
            raise ValueError("slots before and after their first chunk cannot share a step")
        return bool(first.all())

    @torch.inference_mode()
    def _forward(self, slots: Sequence[int], mels: Tensor, first: bool, last: bool) -> Tensor:
        """What convolutions keep changes at the end, and not if these mels are the `last`."""
        rows, frames = torch.tensor([slots, self._frames[slots].tolist()], device=self._device)
        stages = [stage.index_select(0, rows) for stage in self._stages]
        hidden, stages = self._subsampling(mels.to(self._device, self._dtype), stages, first, last)
        window = self._window(rows, frames, len(hidden) // len(slots))
        kept = list(self._kept.index_select(1, rows))
        for index, block in enumerate(self._blocks):
            hidden, kept[index] = block(hidden, self._pairs[index].flatten(0, 1), kept[index], window)
        if not last:
            self._kept.index_copy_(1, rows, torch.stack(kept))
            for stage, after in zip(self._stages, stages, strict=True):
                stage.index_copy_(0, rows, after)
        encoded = hidden.view(len(slots), -1, self.config.width)
        return self._tell_language(encoded, self._prompts[rows]) if self._tell_language else encoded

    def _window(self, rows: Tensor, frames: Tensor, new: int) -> Window:
        """The window of slots `rows` `[B]` that had so many `frames` `[B]` before `new` ones.

        Each is at its own place of its ring. A tail writes where the next step will, which no one sees.
        """
        left = self.config.left_context
        times = frames[:, None] + torch.arange(-left, new, device=self._device)
        places = rows[:, None] * self._ring + times % self._ring
        bias = self._zeros(*times.shape).masked_fill(times < 0, -math.inf)[:, None, None]
        return Window(len(rows), places[:, left:].flatten(), places.flatten(), bias)
