"""Log-mels of streams against those of the whole audio."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.asr.fastconformer.config import FrontendConfig
from models.asr.fastconformer.frontend import Frontend
from models.asr.fastconformer.streaming_frontend import StreamingFrontend
from models.audio import AudioRing, IntArray

TOLERANCE = 1e-4
"""Of log-mels from -17 to 5 in fp32: an FFT of other rows in one pass rounds differently."""
LENGTHS = (30_001, 26_480, 12_345)


@pytest.fixture(params=[80, 128])
def config(request: pytest.FixtureRequest) -> FrontendConfig:
    return FrontendConfig(mel_bins=request.param)


def noise(samples: int) -> IntArray:
    return np.random.default_rng(samples).integers(-9_000, 9_000, samples)


def offline(config: FrontendConfig, audio: IntArray) -> Tensor:
    rows = torch.from_numpy(audio / 32_768).float()[None]
    mels: Tensor = Frontend(config)(rows, torch.tensor([len(audio)]))[0]
    return mels[0]


def append(ring: AudioRing, slot: int, audio: IntArray, end: int) -> None:
    start = int(ring.written[slot])
    ring.append(slot, start, audio[start:end].astype("<i2").tobytes())


def test_equals_offline_in_any_pieces(config: FrontendConfig) -> None:
    """Streams in step but at different frames, with no more history held than is said to be needed."""
    frontend = StreamingFrontend(config)
    ring = AudioRing(4, max(LENGTHS), frontend.history_samples)
    slots, audio = [2, 0, 3], [noise(length) for length in LENGTHS]
    done, got = [0, 3, 0], [torch.zeros(0, config.mel_bins)] * 3
    got[1] = offline(config, audio[1])[:3]
    for end in range(997, max(LENGTHS), 997):
        for slot, whole in zip(slots, audio, strict=True):
            append(ring, slot, whole, end)
        written = [int(ring.written[slot]) for slot in slots]
        frames = min(frontend.frames(samples) - at for samples, at in zip(written, done, strict=True))
        if frames > 0:
            pieces = frontend.step(ring, slots, done, frames)
            got = [torch.cat(pair) for pair in zip(got, pieces, strict=True)]
            done = [at + frames for at in done]
            for slot, at in zip(slots, done, strict=True):
                ring.release(slot, config.hop * at)
    for slot, at, so_far, whole in zip(slots, done, got, audio, strict=True):
        append(ring, slot, whole, len(whole))
        tail = frontend.step(ring, [slot], [at], len(whole) // config.hop - at)
        torch.testing.assert_close(torch.cat([so_far, tail[0]]), offline(config, whole), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("samples", [0, 150, 200, 300, 360, 1480, 2000])
def test_frames_that_are_final(config: FrontendConfig, samples: int) -> None:
    """Those that no sample to come can change, which the next frame can."""
    count = StreamingFrontend(config).frames(samples)
    audio = noise(4000)
    other = np.concatenate([audio[:samples], audio[samples:] // 2])
    changed = (offline(config, audio) != offline(config, other)).any(1)
    assert not changed[:count].any()
    assert changed[count]


def test_the_end_is_silence(config: FrontendConfig) -> None:
    """The last frame reaches beyond the audio, where pre-emphasis must not echo."""
    frontend = StreamingFrontend(config)
    ring = AudioRing(1, 8_000, frontend.history_samples)
    audio = noise(1_600)
    append(ring, 0, audio, len(audio))
    last = frontend.step(ring, [0], [9], 1)[0]
    torch.testing.assert_close(last, offline(config, audio)[9:], atol=TOLERANCE, rtol=0)
