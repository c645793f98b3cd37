"""Beam search over a CTC head with an n-gram model, of all streams at once."""

import torch
from torch import Tensor

from models.asr.fastconformer import hypotheses
from models.asr.fastconformer.ctc import pack_head
from models.asr.fastconformer.decoder import Decoder, Heard, State, Token
from models.asr.fastconformer.hypotheses import WIDTH, Candidates, Hypotheses
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.ngram import NGram
from models.asr.fastconformer.vocabulary import Vocabulary

CANDIDATES = 32
"""Tokens of a frame by which hypotheses may grow, the likeliest."""


class BeamDecoder(Decoder):
    """Its certain tokens are those that all hypotheses have in common, its likely ones are the best one's others."""

    @torch.no_grad()
    def __init__(
        self,
        network: FastConformer,
        vocabulary: Vocabulary,
        ngram: NGram,
        capacity: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is that of the head's weights; probabilities are float32. Raises ValueError without a CTC head."""
        self._head = pack_head(network, dtype)
        device = next(network.parameters()).device
        self._dtype, self._ngram = dtype, ngram.to(device)
        starts = [vocabulary.starts_word(token) for token in range(len(vocabulary))]
        self._word_bonus = ngram.fusion.word_bonus * torch.tensor(starts, device=device)
        begin = hypotheses.start(network.config.blank, ngram.start, device)
        super().__init__(capacity, network.config.vocabulary, begin._asdict())

    def _decode(self, slots: Tensor, state: State, encoded: Tensor) -> list[Heard]:
        logprobs = self._head(encoded.to(self._dtype)).float().log_softmax(-1)
        likeliest = logprobs[..., :-1].topk(min(CANDIDATES, logprobs.shape[-1] - 1))
        beams = Hypotheses(*(state[name] for name in Hypotheses._fields))
        for frame in range(encoded.shape[1]):
            candidates = self._candidates(slots, beams, likeliest.indices[:, frame], likeliest.values[:, frame])
            beams = hypotheses.extend(beams, logprobs[:, frame], candidates, state["frames"] + frame)
        beams, best, settled = hypotheses.settle(beams)
        state |= beams._asdict()
        rows = torch.arange(len(slots), device=slots.device)
        newest = best.begins[rows, best.length - 1]
        state["last"] = torch.where(best.length > 0, newest, state["last"])
        return _heard(best, settled)

    def _candidates(self, slots: Tensor, beams: Hypotheses, tokens: Tensor, logprobs: Tensor) -> Candidates:
        each = tokens.repeat_interleave(WIDTH, 0)
        scores, contexts = self._ngram(beams.context.flatten(), each)
        gains = self._ngram.fusion.weight * scores + self._word_bonus[each]
        phrases = beams.phrase.flatten()
        following = phrases[:, None].expand_as(contexts)
        if not self.phrases.empty:
            boosts, states = self.phrases.moves(slots.repeat_interleave(WIDTH), phrases)
            gains, following = gains + boosts.gather(1, each), states.gather(1, each)
        shape = (len(slots), WIDTH, -1)
        return Candidates(tokens, logprobs, gains.view(shape), contexts.view(shape), following.reshape(shape))


def _heard(best: Hypotheses, settled: Tensor) -> list[Heard]:
    columns = best.length, settled, best.tokens, best.begins, best.logprobs
    heard = []
    for length, certain, *tails in zip(*(column.tolist() for column in columns), strict=True):
        tokens = [Token(*token) for token in zip(*(tail[:length] for tail in tails), strict=True)]
        heard.append(Heard(tokens[:certain], tokens[certain:]))
    return heard
