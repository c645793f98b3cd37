"""Log-mels of streams, frame by frame, equal to those of the whole audio at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.asr.fastconformer.config import FrontendConfig
from models.asr.fastconformer.frontend import Frontend
from models.audio import AudioRing


class StreamingFrontend:
    """Computes any frames of many streams in one pass.

    It has no state: what neighbouring frames share is read twice from the ring, which must keep `history_samples` of
    what is released.
    """

    def __init__(self, config: FrontendConfig, device: torch.device | None = None) -> None:
        self._frontend = Frontend(config).to(device)
        self._device = device
        self._hop = config.hop
        self._window = config.window
        self._margin = config.fft // 2
        self.history_samples = config.window // 2

    def frames(self, samples: int) -> int:
        """How many frames are final once a stream that goes on has so many samples."""
        return max(samples - self._window // 2, -1) // self._hop + 1

    def step(self, ring: AudioRing, slots: Sequence[int], starts: Sequence[int], frames: int) -> Tensor:
        """Frames [start, start + `frames`) of each slot: float32 `[B, frames, mel_bins]`.

        What was not written yet is silence, so the last frames of a stream (of `written // hop`) come out as at its
        end. The centre of the first, `hop * start`, must not be released by more than `history_samples`.
        """
        first = self._hop * np.asarray(starts, np.int64) - self._margin
        count = self._hop * (frames - 1) + 2 * self._margin
        audio = torch.from_numpy(ring.read(slots, first, count)).to(self._device)
        emphasised = self._frontend.emphasise(audio, torch.zeros_like(audio[:, :1]))  # the window begins with 0
        written = torch.from_numpy(ring.written[np.asarray(slots)] - first).to(self._device)
        silent = torch.arange(count, device=self._device) >= written[:, None]
        return self._frontend.mels(emphasised.masked_fill(silent, 0).unfold(1, 2 * self._margin, self._hop))
