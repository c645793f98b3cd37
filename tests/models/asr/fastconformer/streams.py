"""Encoders with random weights, transformers' with the same, and utterances fed chunk by chunk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, NemotronAsrStreamingConfig, NemotronAsrStreamingForRNNT
from transformers.models.nemotron_asr_streaming.modeling_nemotron_asr_streaming import (
    NemotronAsrStreamingEncoderCausalConvPaddingCache,
)

from models.asr.fastconformer import huggingface
from models.asr.fastconformer.config import Config, EncoderConfig, FrontendConfig
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.streaming import StreamingEncoder, chunk_mels

TOLERANCE = 1e-4
"""Of encoder frames of order 1 in fp32: sums in another order differ by 1e-6, a frame misplaced by 1e-1."""
LOOKAHEADS = (0, 1, 6, 13)


def network(bias: bool = True, mel_bins: int = 80) -> FastConformer:
    """Three blocks, all parameters random, with or without biases and input scaling."""
    torch.manual_seed(0)
    encoder = EncoderConfig(
        layers=3, width=32, heads=4, feedforward=64, subsampling_channels=8, bias=bias, convolution_bias=bias,
        scale_input=bias,
    )  # fmt: skip
    made = FastConformer(Config(32, encoder, FrontendConfig(mel_bins=mel_bins)))
    _randomise(made)
    return made


def _randomise(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, std=0.3)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    module.eval().requires_grad_(False)


def pair(directory: Path, bias: bool, mel_bins: int) -> tuple[FastConformer, Any]:
    """A network of transformers with random weights, read from its checkpoint, and its own encoder."""
    torch.manual_seed(0)
    encoder = {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
        "subsampling_conv_channels": 8, "num_mel_bins": mel_bins, "attention_bias": bias, "convolution_bias": bias,
        "scale_input": bias,
    }  # fmt: skip
    config = NemotronAsrStreamingConfig(
        vocab_size=33, blank_token_id=32, decoder_hidden_size=16, encoder_config=encoder
    )
    theirs = NemotronAsrStreamingForRNNT(config)
    _randomise(theirs)
    theirs.save_pretrained(directory)
    features = {"feature_extractor": {"feature_size": mel_bins}}
    (directory / "processor_config.json").write_text(json.dumps(features))

    ours, tensors = huggingface.read(directory)
    made = FastConformer(ours)
    made.load_state_dict(tensors)
    return made.eval().requires_grad_(False), theirs.encoder


def offline(net: FastConformer, mels: Tensor, lookahead: int) -> Tensor:
    """All encoder frames of `[B, M, mel_bins]`."""
    encoded: Tensor
    encoded, lengths = net(mels, torch.full((len(mels),), mels.shape[1]), lookahead)
    return encoded[:, : int(lengths[0])]


def chunks(mels: Tensor, lookahead: int) -> Iterator[Tensor]:
    """The whole chunks of `[B, M, mel_bins]`, and what remains, which may be empty."""
    at = 0
    while (end := at + chunk_mels(lookahead, first=at == 0)) <= mels.shape[1]:
        yield mels[:, at:end]
        at = end
    yield mels[:, at:]


def stream(encoder: StreamingEncoder, slots: list[int], mels: Tensor, lookahead: int) -> Tensor:
    """All encoder frames of new streams, chunk by chunk and to the end."""
    for slot in slots:
        encoder.reset(slot)
    *whole, tail = chunks(mels, lookahead)
    encoded = [encoder.step(slots, chunk, lookahead) for chunk in whole]
    return torch.cat([*encoded, encoder.finish(slots, tail, lookahead)], 1)


def cached(theirs: Any, mels: Tensor, lookahead: int) -> Tensor:
    """Encoder frames of the whole chunks by transformers' own cached step."""
    cache = DynamicCache(config=theirs.config)
    padding = NemotronAsrStreamingEncoderCausalConvPaddingCache()  # type: ignore[no-untyped-call]
    *whole, _ = chunks(mels, lookahead)
    encoded = [
        theirs(chunk, cache=cache, padding_cache=padding, num_lookahead_tokens=lookahead, use_cache=True)
        for chunk in whole
    ]
    return torch.cat([chunk.last_hidden_state for chunk in encoded], 1)
