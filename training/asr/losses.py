"""What training minimises: CTC at the end and in the middle of the encoder, and RNNT on some utterances of a step."""

import math

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional

from models.asr.fastconformer.config import SUBSAMPLING
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.subsampling import FREQUENCY_PADDING, STRIDE, Subsampling
from training.asr.batches import Batch
from training.asr.recipe import Optimisation
from training.precision import mixed


def losses(network: FastConformer, batch: Batch, lookahead: int, how: Optimisation, step: int) -> dict[str, Tensor]:
    """The weighted `total` of step `step` and its parts; forward in mixed precision, losses in float32."""
    with mixed():
        hidden, frames = subsample(network.encoder.pre_encode, batch.mels, batch.frames)
        encoded, middle = network.encoder.blocks(hidden, frames, lookahead, tap=len(network.encoder.layers) // 2)
    kind, loss = ("flat", _flat) if step < how.flat_start else ("ctc", _ctc)
    parts = {
        kind: loss(_logprobs(network, encoded), frames, batch),
        f"inner_{kind}": loss(_logprobs(network, middle), frames, batch),
    }
    total = parts[kind] + how.inner * parts[f"inner_{kind}"]
    rows = _some(batch, how.rnnt_utterances)
    if network.joint is not None and step >= how.rnnt_after and len(rows):
        parts["rnnt"] = _rnnt(network, encoded[rows], frames[rows], batch.tokens[rows], batch.tokens_each[rows])
        total = total + how.rnnt * parts["rnnt"]
    return {"total": total, **parts}


def subsample(module: Subsampling, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """As `module` does, by other means: on a CPU the gradients of depthwise two-dimensional convolutions are slow, and
    one full convolution that equals a depthwise and a pointwise one is not.
    """
    first, *rest = (layer for layer in module.conv if isinstance(layer, torch.nn.Conv2d))
    padded = functional.pad(mels, FREQUENCY_PADDING * 2)
    patches = padded.unfold(1, 3, STRIDE).unfold(2, 3, STRIDE).flatten(3)
    lengths = lengths // STRIDE + 1
    hidden = _rectified(functional.linear(patches, first.weight.flatten(1), first.bias).permute(0, 3, 1, 2), lengths)
    for depthwise, pointwise in zip(rest[::2], rest[1::2], strict=True):
        weight = pointwise.weight * depthwise.weight.transpose(0, 1)
        assert pointwise.bias is not None
        assert depthwise.bias is not None
        bias = pointwise.bias + pointwise.weight[..., 0, 0] @ depthwise.bias
        lengths = lengths // STRIDE + 1
        padded = functional.pad(hidden, FREQUENCY_PADDING * 2)
        hidden = _rectified(functional.conv2d(padded, weight, bias, STRIDE), lengths)
    return module.out(hidden.transpose(1, 2).flatten(2)), lengths


def _rectified(hidden: Tensor, lengths: Tensor) -> Tensor:
    valid = torch.arange(hidden.shape[2]) < lengths[:, None]
    return functional.relu(hidden) * valid[:, None, :, None].to(hidden.dtype)


def _logprobs(network: FastConformer, encoded: Tensor) -> Tensor:
    """Of the CTC head's labels, `[B, T, vocabulary + 1]`."""
    assert network.ctc_decoder is not None
    with mixed():
        logits: Tensor = network.ctc_decoder(encoded)
    return logits.float().log_softmax(-1)


def _ctc(logprobs: Tensor, frames: Tensor, batch: Batch) -> Tensor:
    """In nats per token. The blank is the last label."""
    summed = functional.ctc_loss(
        logprobs.transpose(0, 1),
        batch.tokens,
        frames,
        batch.tokens_each,
        logprobs.shape[-1] - 1,
        reduction="sum",
        zero_infinity=True,
    )
    return summed / batch.tokens_each.sum().clamp(min=1)


def _flat(logprobs: Tensor, frames: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy, in nats per frame, with the tokens a frame after they are said, and blanks elsewhere."""
    time = torch.arange(logprobs.shape[1])
    heard = SUBSAMPLING * (time[:, None] - 1)
    said = (batch.spans[:, None, :, 0] <= heard) & (heard < batch.spans[:, None, :, 1])
    spoken, which = said.max(-1)
    targets = torch.where(spoken, batch.tokens.gather(1, which), logprobs.shape[-1] - 1)
    return functional.nll_loss(logprobs.flatten(0, 1), targets.masked_fill(time >= frames[:, None], -100).flatten())


def _some(batch: Batch, count: int) -> Tensor:
    """Rows of up to `count` utterances that say something, drawn at random."""
    speaking = batch.tokens_each.nonzero()[:, 0]
    return speaking[torch.randperm(len(speaking))[:count]]


def _rnnt(network: FastConformer, encoded: Tensor, frames: Tensor, tokens: Tensor, tokens_each: Tensor) -> Tensor:
    assert network.decoder is not None
    assert network.joint is not None
    tokens = tokens[:, : int(tokens_each.max())]
    encoded = encoded[:, : int(frames.max())]
    with mixed():
        predicted, _ = network.decoder(functional.pad(tokens, (1, 0), value=network.config.blank))
        logits = network.joint(encoded[:, :, None], predicted[:, None])
    summed: Tensor = torchaudio.functional.rnnt_loss(
        logits.float(), tokens.int(), frames.int(), tokens_each.int(), blank=network.config.blank, reduction="sum"
    )
    return summed / tokens_each.sum()


def learning_rate(step: int, steps: int, how: Optimisation) -> float:
    """Of step `step` of `steps`: risen linearly, constant, fallen to zero as 1 - sqrt (Hägele et al. 2024)."""
    rise = min(1.0, (step + 1) / how.warmup)
    falling = (step - steps * (1 - how.decay)) / max(1.0, steps * how.decay)
    return how.learning_rate * rise * (1 - math.sqrt(min(max(falling, 0.0), 1.0)))
