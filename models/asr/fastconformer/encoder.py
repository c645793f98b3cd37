"""Mels to encoder frames, all of an utterance at once."""

import math

import torch
from torch import Tensor, nn

from models.asr.fastconformer.attention import chunk_mask, encode_distances
from models.asr.fastconformer.block import Block
from models.asr.fastconformer.config import EncoderConfig
from models.asr.fastconformer.subsampling import Subsampling


class Encoder(nn.Module):
    """Subsampling and blocks. Attention sees what it would see while streaming with the given look-ahead."""

    def __init__(self, config: EncoderConfig, mel_bins: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.pre_encode = Subsampling(mel_bins, config.subsampling_channels, config.width)
        self.layers = nn.ModuleList(Block(config, dropout) for _ in range(config.layers))

    def forward(self, mels: Tensor, lengths: Tensor, lookahead: int) -> tuple[Tensor, Tensor]:
        """Mels `[B, frames, mel_bins]` and valid frames `[B]` to `[B, T, width]` and valid encoder frames `[B]`."""
        hidden, lengths = self.pre_encode(mels, lengths)
        encoded, _ = self.blocks(hidden, lengths, lookahead)
        return encoded, lengths

    def blocks(self, hidden: Tensor, lengths: Tensor, lookahead: int, tap: int = 0) -> tuple[Tensor, Tensor]:
        """Subsampled frames `[B, T, width]`, `lengths` `[B]` of them valid, to encoder frames `[B, T, width]`; second,
        the frames after `tap` blocks.
        """
        if self.config.scale_input:
            hidden = hidden * math.sqrt(self.config.width)
        frames = hidden.shape[1]
        distances = torch.arange(frames - 1, -frames, -1, device=hidden.device)
        positions = encode_distances(distances, self.config.width).to(hidden.dtype)
        valid = torch.arange(frames, device=hidden.device) < lengths[:, None]
        visible = chunk_mask(frames, self.config.left_context, lookahead, hidden.device)
        visible = (visible & valid[:, None] & valid[:, :, None])[:, None]
        tapped = hidden
        for number, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, positions, visible, valid)
            if number == tap:
                tapped = hidden
        return hidden, tapped
