"""Greedy decoding of a transducer head, by labels instead of frames (Bataev et al. 2024, "Label-Looping").

While no token is written the prediction stays the same, so the frames up to the next token are one matrix product; the
number of rounds is that of the tokens of the most talkative row.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from models.asr.fastconformer.decoder import State
from models.asr.fastconformer.greedy import Emission, GreedyDecoder
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.ragged import ranges
from models.asr.fastconformer.rnnt import Joint, Prediction
from models.linear import Linear, pack


class TransducerDecoder(GreedyDecoder):
    """Its state is the prediction network's: `hidden` and `cell` `[layers, width]`, and its projection in the joint
    network, `predicted`.
    """

    @torch.no_grad()
    def __init__(self, network: FastConformer, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        """`dtype` is that of weights and of the inputs of products; state and probabilities are float32."""
        config = network.config
        if config.rnnt is None:
            raise ValueError("the network has no RNNT head")
        prediction, joint = cast(Prediction, network.decoder), cast(Joint, network.joint)
        self._blank, self._max_symbols, self._dtype = config.blank, config.rnnt.max_symbols, dtype
        self._embedding = prediction.embed.weight.to(dtype)
        self._gates = [_gates(prediction.lstm, layer, dtype) for layer in range(config.rnnt.prediction_layers)]
        self._encode, self._predict, self._score = (
            pack(linear.weight.to(dtype), linear.bias.to(dtype))
            for linear in (joint.enc, joint.pred, cast(torch.nn.Linear, joint.joint_net[-1]))
        )
        nothing = torch.zeros(
            1, config.rnnt.prediction_layers, config.rnnt.prediction_width, device=joint.enc.weight.device
        )
        blank = torch.tensor([self._blank], device=nothing.device)
        begin = self._recur(blank, nothing, nothing)
        super().__init__(capacity, config.vocabulary, {name: value[0] for name, value in begin.items()})

    def _emit(self, slots: Tensor, state: State, encoded: Tensor) -> list[Emission]:
        frames = encoded.shape[1]
        keys = self._encode(encoded.flatten(0, 1).to(self._dtype)).float()
        rows = torch.arange(len(slots), device=slots.device)
        at, symbols = torch.zeros_like(rows), torch.zeros_like(rows)
        emissions: list[Emission] = []
        while len(rows):
            frame, owner = ranges(at[rows], frames - at[rows])
            row = rows[owner]
            logits = self._joint(keys[row * frames + frame], state["predicted"][row])
            spoken = logits.argmax(-1) != self._blank
            first = torch.full_like(at, frames)
            first.scatter_reduce_(0, row[spoken], frame[spoken], "amin")
            found = first[row] == frame
            rows, frame, logits = row[found], frame[found], logits[found]
            if not len(rows):
                break
            tokens = self._write(slots[rows], rows, state, logits)
            emissions.append(Emission(rows, frame, tokens, logits))
            symbols[rows] = torch.where(frame > at[rows], 1, symbols[rows] + 1)
            exhausted = symbols[rows] >= self._max_symbols
            symbols[rows] = symbols[rows].masked_fill(exhausted, 0)
            at[rows] = frame + exhausted
            rows = rows[at[rows] < frames]
        return emissions

    def _write(self, slots: Tensor, rows: Tensor, state: State, logits: Tensor) -> Tensor:
        """The tokens of `rows`, whose `state` moves on past them."""
        tokens, state["phrase"][rows] = self.phrases.choose(slots, state["phrase"][rows], logits[:, : self._blank])
        for name, value in self._recur(tokens, state["hidden"][rows], state["cell"][rows]).items():
            state[name][rows] = value
        return tokens

    def _joint(self, keys: Tensor, predicted: Tensor) -> Tensor:
        logits: Tensor = self._score(functional.relu(keys + predicted).to(self._dtype)).float()
        return logits

    def _recur(self, tokens: Tensor, hidden: Tensor, cell: Tensor) -> State:
        """The state after tokens `[N]`, from `hidden` and `cell` `[N, layers, width]`."""
        inputs = self._embedding[tokens]
        hiddens, cells = [], []
        for layer, gates in enumerate(self._gates):
            both = torch.cat([inputs, hidden[:, layer].to(self._dtype)], 1)
            admit, forget, candidate, reveal = gates(both).float().chunk(4, 1)
            cells.append(forget.sigmoid() * cell[:, layer] + admit.sigmoid() * candidate.tanh())
            hiddens.append(reveal.sigmoid() * cells[-1].tanh())
            inputs = hiddens[-1].to(self._dtype)
        return {
            "hidden": torch.stack(hiddens, 1),
            "cell": torch.stack(cells, 1),
            "predicted": self._predict(inputs).float(),
        }


def _gates(lstm: torch.nn.LSTM, layer: int, dtype: torch.dtype) -> Linear:
    """A layer's four gates (input, forget, candidate, output), from its input beside its hidden state."""
    weight = torch.cat([getattr(lstm, f"weight_{kind}_l{layer}") for kind in ("ih", "hh")], 1)
    bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
    return pack(weight.to(dtype), bias.to(dtype))
