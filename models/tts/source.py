"""The excitation of voiced speech: harmonics of the pitch, as the spectrum that the generator filters."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)
from torch import Tensor

from models.tts.checkpoint import Checkpoint

FFT = 20
HOP = 5
_HARMONICS = 9
_SAMPLE_RATE_HZ = 24_000
_FRAME_SAMPLES = 300
_AMPLITUDE = 0.1
_VOICED_HZ = 10


class HarmonicSource:
    """Sines at multiples of the pitch, mixed to one signal; all float32. This checkpoint adds no noise to them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._mix = checkpoint.plain_linear("generator/m_source/l_linear")
        self._window = torch.hann_window(FFT)

    def __call__(self, pitch_hz: Tensor) -> Tensor:
        """Magnitudes and phases `[60 T + 1, 22]` of the source of `pitch_hz` `[1, T]`, a value each 12.5 ms."""
        spectrum = torch.stft(self.wave(pitch_hz), FFT, HOP, FFT, self._window, return_complex=True)
        return torch.cat([spectrum.abs(), spectrum.angle()]).t()

    def wave(self, pitch_hz: Tensor) -> Tensor:
        """`[300 T]`."""
        cycles = (pitch_hz * torch.arange(1, _HARMONICS + 1)[:, None] / _SAMPLE_RATE_HZ) % 1
        phase = cycles.cumsum(1) * (2 * math.pi * _FRAME_SAMPLES)
        phase = F.interpolate(phase[None], scale_factor=float(_FRAME_SAMPLES), mode="linear")[0]
        voiced = (pitch_hz[0] > _VOICED_HZ).repeat_interleave(_FRAME_SAMPLES)
        sines = phase.sin_().mul_(voiced * _AMPLITUDE)
        return torch.tanh(sines.t() @ self._mix.weight + self._mix.bias)[:, 0]
