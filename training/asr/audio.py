"""Audio files of any kind."""

from pathlib import Path

import av
import numpy as np

from models.audio import SAMPLE_RATE_HZ, FloatArray


def decode(file: Path) -> FloatArray:
    """A recording of any kind, mono at 16 kHz: float32 `[N]`."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
    with av.open(str(file), format="g722" if file.suffix == ".g722" else None) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)
