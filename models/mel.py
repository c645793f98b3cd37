"""Whisper's log-mel features (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision")."""

import numpy as np
import torch
import torchaudio

from models.audio import SAMPLE_RATE_HZ, FloatArray

HOP_SAMPLES = 160
MEL_BINS = 80
_FFT_SAMPLES = 400
_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE_LOG10 = 8.0

_WINDOW = torch.hann_window(_FFT_SAMPLES)
_FILTERS = torchaudio.functional.melscale_fbanks(
    _FFT_SAMPLES // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, MEL_BINS, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
).T.contiguous()


def log_mel(audio: FloatArray) -> FloatArray:
    """Log-mel features of 16 kHz audio: float32 `[B, samples]` to float32 `[B, 80, samples // 160]`.

    `samples` is a multiple of 160. The dynamic range is cut per row, so a row does not depend on its neighbours.
    """
    spectrum = torch.stft(
        torch.from_numpy(audio), _FFT_SAMPLES, HOP_SAMPLES, window=_WINDOW, pad_mode="reflect", return_complex=True
    )
    power = spectrum[..., :-1].abs() ** 2
    log_power = (_FILTERS @ power).clamp(min=_POWER_FLOOR).log10()
    floor = log_power.amax(dim=(-2, -1), keepdim=True) - _DYNAMIC_RANGE_LOG10
    features = (torch.maximum(log_power, floor) + 4.0) / 4.0
    return np.ascontiguousarray(features.numpy())
