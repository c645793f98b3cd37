"""Kokoro's decoder, that of StyleTTS 2 (arXiv 2306.07691): phonemes, pitch and loudness in frames to audio."""

import torch
from torch import Tensor

from models.tts.checkpoint import Checkpoint
from models.tts.generator import Generator
from models.tts.layers import Convolve, ResidualBlock
from models.tts.source import HarmonicSource

_BLOCKS = 4


class Decoder:
    """Frames of 25 ms to 600 samples each. Nothing is random: the same frames make the same audio."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        """ValueError if the checkpoint has parameters that are missing or left over."""
        self._dtype = dtype
        self._pitch = Convolve(checkpoint.convolution("F0_conv"), torch.float32)
        self._loudness = Convolve(checkpoint.convolution("N_conv"), torch.float32)
        self._phonemes = Convolve(checkpoint.convolution("asr_res/asr_res.0"), dtype)
        self._encode = ResidualBlock(checkpoint, "encode", dtype)
        self._decode = [
            ResidualBlock(checkpoint, f"decode.{block}", dtype, upsamples=block == _BLOCKS - 1)
            for block in range(_BLOCKS)
        ]
        self.source = HarmonicSource(checkpoint)
        self._generator = Generator(checkpoint, dtype)
        checkpoint.check_all_read()

    @torch.inference_mode()
    def __call__(self, phonemes: Tensor, pitch_hz: Tensor, loudness: Tensor, style: Tensor) -> Tensor:
        """float32 `[600 T]` of `phonemes` `[1, 512, T]`, `pitch_hz` and `loudness` `[1, 2 T]`, `style` `[1, 128]`."""
        return self.filter(phonemes, pitch_hz, loudness, style, self.source(pitch_hz))

    @torch.inference_mode()
    def filter(self, phonemes: Tensor, pitch_hz: Tensor, loudness: Tensor, style: Tensor, source: Tensor) -> Tensor:
        """The same with the spectrum of the source, `[120 T + 1, 22]`, given."""
        asr = phonemes[0].t().to(self._dtype).contiguous()
        curves = [
            convolve(curve.t()).to(self._dtype)
            for convolve, curve in ((self._pitch, pitch_hz), (self._loudness, loudness))
        ]
        x = self._encode(torch.cat([asr, *curves], 1), style)
        residual = self._phonemes(asr)
        for block in self._decode:
            x = block(torch.cat([x, residual, *curves], 1), style)
        return self._generator(x, style, source)
