"""Greedy decoding of a CTC head (Graves et al. 2006): the best token of each frame, repeats and blanks removed."""

import torch
from torch import Tensor

from models.asr.fastconformer.decoder import State
from models.asr.fastconformer.greedy import Emission, GreedyDecoder
from models.asr.fastconformer.network import FastConformer
from models.linear import Linear, pack


class CtcDecoder(GreedyDecoder):
    """Its state is the last frame's label, as the network has it (`heard`) and as phrases made it (`written`)."""

    @torch.no_grad()
    def __init__(self, network: FastConformer, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        """`dtype` is that of the head's weights; probabilities are float32."""
        self._head = pack_head(network, dtype)
        self._dtype = dtype
        self._blank = network.config.blank
        blank = torch.tensor(self._blank, device=next(network.parameters()).device)
        super().__init__(capacity, network.config.vocabulary, {"heard": blank, "written": blank})

    def _emit(self, slots: Tensor, state: State, encoded: Tensor) -> list[Emission]:
        logits: Tensor = self._head(encoded.to(self._dtype)).float()
        heard = logits.argmax(-1)
        fresh = (heard != self._blank) & (heard != _delayed(heard, state["heard"]))
        written = self._write(slots, state, logits, heard, fresh)
        rows, frames = torch.nonzero(fresh & (written != _delayed(written, state["written"])), as_tuple=True)
        state["heard"], state["written"] = heard[:, -1], written[:, -1]
        return [Emission(rows, frames, written[rows, frames], logits[rows, frames])]

    def _write(self, slots: Tensor, state: State, logits: Tensor, heard: Tensor, fresh: Tensor) -> Tensor:
        """The labels `[B, T]` after boosting: a phrase may turn a fresh one into another, and repeats follow it."""
        if self.phrases.empty:
            return heard
        labels = [state["written"]]
        for frame in range(heard.shape[1]):
            chosen, following = self.phrases.choose(slots, state["phrase"], logits[:, frame, : self._blank])
            label = torch.where(heard[:, frame] == self._blank, self._blank, labels[-1])
            label = torch.where(fresh[:, frame], chosen, label)
            moves = fresh[:, frame] & (label != labels[-1])
            state["phrase"] = torch.where(moves, following, state["phrase"])
            labels.append(label)
        return torch.stack(labels[1:], 1)


def pack_head(network: FastConformer, dtype: torch.dtype) -> Linear:
    """The network's CTC head: encoder frames `[..., width]` to logits `[..., vocabulary + 1]`, in `dtype`. Raises
    ValueError if it has none.
    """
    head = network.ctc_decoder
    if head is None:
        raise ValueError("the network has no CTC head")
    layer = head.decoder_layers[0]
    assert isinstance(layer, torch.nn.Conv1d)
    assert layer.bias is not None
    return pack(layer.weight[..., 0].to(dtype), layer.bias.to(dtype))


def _delayed(labels: Tensor, before: Tensor) -> Tensor:
    """Labels `[B, T]` one frame later, after those of `before` `[B]`."""
    return torch.cat([before[:, None], labels[:, :-1]], 1)
