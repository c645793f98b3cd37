import msgspec
import numpy as np
import pytest
import torch

from models.audio import SAMPLE_RATE_HZ
from tests.training.asr.tones import tones
from training.asr.disturb import Disturber
from training.asr.recipe import UNDISTURBED, Disturbance

ALWAYS = Disturbance(speed=1, room=1, noise=1, colour=1, telephone=1, warp=1)
SPEECH = tones("abc cab")
OTHERS = [tones("ba"), tones("cc"), tones("b")]


def disturber(how: Disturbance, seed: int = 0) -> Disturber:
    return Disturber(how, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(20))
def test_disturbed_audio_stays_audio(seed: int) -> None:
    audio = disturber(ALWAYS, seed).audio(SPEECH, OTHERS)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() <= 1
    assert abs(len(audio) / len(SPEECH) - 1) < 0.13


def test_the_same_generator_disturbs_alike() -> None:
    once, again = (disturber(ALWAYS, 3).audio(SPEECH, OTHERS) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_without_disturbances_only_the_level_changes() -> None:
    audio = disturber(UNDISTURBED).audio(SPEECH, OTHERS)
    np.testing.assert_allclose(audio / np.abs(audio).max(), SPEECH / np.abs(SPEECH).max(), atol=1e-6)


def test_silence_is_as_quiet_as_a_pause() -> None:
    for seed in range(10):
        assert np.sqrt(np.mean(disturber(ALWAYS, seed).silence(16_000, OTHERS) ** 2)) < 10 ** (-44 / 20)


def test_digital_silence_does_not_blow_up() -> None:
    assert np.isfinite(disturber(ALWAYS).audio(np.zeros(16_000, np.float32), OTHERS)).all()


def test_a_telephone_has_no_treble() -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32)
    heard = disturber(msgspec.structs.replace(UNDISTURBED, telephone=1.0)).audio(noise, OTHERS)
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum[4_500:].mean() < 0.1 * spectrum[500:3_000].mean()


def test_masks_cover_bins_and_frames_with_the_mean() -> None:
    mels = torch.randn(500, 80, generator=torch.Generator().manual_seed(0))
    masked = disturber(Disturbance(warp=0, frequency_masks=2, time_masks_per_s=2)).mels(mels)
    changed = masked != mels
    assert 0.02 < changed.float().mean() < 0.8
    torch.testing.assert_close(masked[changed], mels.mean().expand(int(changed.sum())))


def test_a_warp_moves_peaks_along_the_mel_axis() -> None:
    mels = torch.zeros(10, 80)
    mels[:, 40] = 1
    warped = disturber(Disturbance(warp=1, max_warp=0.2, frequency_masks=0, time_masks_per_s=0), 1).mels(mels)
    peaks = set(warped.argmax(1).tolist())
    assert len(peaks) == 1
    assert 0 < abs(peaks.pop() - 40) <= 10
