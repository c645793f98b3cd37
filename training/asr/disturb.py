"""Disturbances: what rooms, microphones, telephones and other people do to speech, and SpecAugment on its features."""

import numpy as np
import soxr
import torch
from numpy.fft import irfft, rfft
from torch import Tensor

from models.audio import SAMPLE_RATE_HZ, FloatArray
from training.asr.recipe import Disturbance

_TELEPHONE_HZ = (300.0, 3_400.0)
_MU = 255.0
_COLOUR_POINTS = 8
_COLOUR_DB = 8.0
_MIN_LEVEL_DB, _MAX_LEVEL_DB = -38.0, -14.0
_SILENT = 1e-7
_FFT_UNIT = 1 << 12


class Disturber:
    """Draws disturbances from its generator."""

    def __init__(self, disturbance: Disturbance, rng: np.random.Generator) -> None:
        self._how = disturbance
        self._rng = rng

    def silences(self) -> bool:
        """Whether nothing is to be said in the next utterance."""
        return self._chance(self._how.silence)

    def audio(self, audio: FloatArray, others: list[FloatArray]) -> FloatArray:
        """Disturbed speech, float32 `[N]`, at a random level and perhaps another speed. `others` make the babble."""
        how, rng = self._how, self._rng
        if self._chance(how.speed):
            speed = np.exp(rng.uniform(-1, 1) * np.log(how.max_speed))
            audio = soxr.resample(audio, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, "LQ")
        audio = self._filtered(audio)
        if self._chance(how.noise):
            audio = audio + self._noise(len(audio), others) * _rms(audio) * _gain(
                -rng.uniform(how.min_snr_db, how.max_snr_db)
            )
        audio = audio * _gain(rng.uniform(_MIN_LEVEL_DB, _MAX_LEVEL_DB)) / max(_rms(audio), _SILENT)
        return self._telephoned(audio) if self._chance(how.telephone) else np.clip(audio, -1, 1).astype(np.float32)

    def silence(self, samples: int, others: list[FloatArray]) -> FloatArray:
        """A pause: noise of a random low level, float32 `[samples]`."""
        return (self._noise(samples, others[:0]) * _gain(self._rng.uniform(-90, -45))).astype(np.float32)

    def mels(self, mels: Tensor) -> Tensor:
        """SpecAugment (Park et al. 2019) and a warped frequency axis; log-mels `[frames, bins]`."""
        how, rng = self._how, self._rng
        if self._chance(how.warp):
            mels = _warped(mels, 1 + rng.uniform(-how.max_warp, how.max_warp))
        mels, frames, bins = mels.clone(), *mels.shape
        mean = mels.mean()
        for _ in range(how.frequency_masks):
            width = int(rng.integers(how.frequency_mask_bins + 1))
            start = int(rng.integers(bins - width + 1))
            mels[:, start : start + width] = mean
        for _ in range(rng.poisson(how.time_masks_per_s * frames / 100)):
            width = int(rng.integers(how.time_mask_frames + 1))
            start = int(rng.integers(max(frames - width, 0) + 1))
            mels[start : start + width] = mean
        return mels

    def _chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _filtered(self, audio: FloatArray) -> FloatArray:
        """Through a room and a smooth frequency response."""
        how, rng = self._how, self._rng
        room, colour = self._chance(how.room), self._chance(how.colour)
        if not room and not colour:
            return audio
        size = _fft_size(len(audio) + SAMPLE_RATE_HZ // 2)
        spectrum = rfft(audio, size)
        if room:
            spectrum = spectrum * rfft(self._impulse_response(), size)
        if colour:
            heights = rng.uniform(-_COLOUR_DB, _COLOUR_DB, _COLOUR_POINTS)
            at = np.linspace(0, _COLOUR_POINTS - 1, len(spectrum), dtype=np.float32)
            spectrum = spectrum * 10 ** (np.interp(at, np.arange(_COLOUR_POINTS), heights).astype(np.float32) / 20)
        filtered: FloatArray = irfft(spectrum, size)[: len(audio)].astype(np.float32)
        return filtered

    def _impulse_response(self) -> FloatArray:
        """Direct sound and an exponentially decaying tail, up to half a second."""
        decay_s = self._rng.uniform(0.08, 0.6)
        time_s = np.arange(int(min(decay_s, 0.5) * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
        response = self._rng.standard_normal(len(time_s), np.float32) * np.exp(-6.9 * time_s / decay_s)
        response = response * _gain(self._rng.uniform(-14, 2)) / np.sqrt(np.square(response).sum())
        response[: int(self._rng.uniform(0.001, 0.02) * SAMPLE_RATE_HZ)] = 0
        response[0] = 1
        return np.asarray(response, np.float32)

    def _noise(self, samples: int, others: list[FloatArray]) -> FloatArray:
        """Coloured noise or babble with unit root mean square, float32 `[samples]`."""
        if others and self._chance(0.25):
            noise = np.sum([np.resize(other, samples) for other in others], 0)
        else:
            spectrum = rfft(self._rng.standard_normal(_fft_size(samples), np.float32))
            slope = self._rng.uniform(0, 1.2)
            noise = irfft(spectrum / np.maximum(np.arange(len(spectrum), dtype=np.float32), 8) ** slope)[:samples]
        return np.asarray(noise / max(_rms(noise), _SILENT), np.float32)

    def _telephoned(self, audio: FloatArray) -> FloatArray:
        spectrum = rfft(audio, _fft_size(len(audio)))
        hertz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
        low, high = _TELEPHONE_HZ
        spectrum = spectrum * (
            (hertz > low * self._rng.uniform(0.3, 1)) & (hertz < high * self._rng.uniform(0.95, 1.15))
        )
        narrow = np.clip(irfft(spectrum)[: len(audio)], -1, 1)
        pressed = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
        pressed = np.round(pressed * 127) / 127
        expanded = np.sign(pressed) * np.expm1(np.abs(pressed) * np.log1p(_MU)) / _MU
        return np.asarray(expanded, np.float32)


def _warped(mels: Tensor, stretch: float) -> Tensor:
    """The mel axis stretched; what lies beyond the last bin repeats it."""
    at = (torch.arange(mels.shape[1]) * stretch).clamp(max=mels.shape[1] - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=mels.shape[1] - 1)
    return torch.lerp(mels[:, low], mels[:, high], at - low)


def _rms(audio: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(audio)) + 1e-12))


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _fft_size(samples: int) -> int:
    """At least `samples`, with small prime factors."""
    return -(-samples // _FFT_UNIT) * _FFT_UNIT
