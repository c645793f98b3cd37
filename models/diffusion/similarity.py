"""The stochastic similarity filter: frames of a still scene are not painted again (arXiv 2312.12491, section 3.5)."""

import random

import torch
from torch import Tensor

from models.diffusion.options import Filter


class SimilarityFilter:
    """One session's. Draws from its own generator, so a session skips the same frames whoever else is there."""

    def __init__(self, options: Filter, seed: int) -> None:
        self._options = options
        self._dice = random.Random(seed)
        self._painted: Tensor | None = None
        self._skipped = 0

    def skips(self, image: Tensor) -> bool:
        """Whether the last output serves for this frame too, with probability (c - h) / (1 - h) for a cosine c of this
        image and the one painted last, and a threshold h. Image: float32 `[3, H, W]`, -1 to 1.
        """
        if self._painted is not None and self._skipped < self._options.max_skipped:
            cosine = float(torch.cosine_similarity(self._painted.flatten(), image.flatten(), dim=0))
            threshold = self._options.threshold
            if self._dice.random() < (cosine - threshold) / (1 - threshold):
                self._skipped += 1
                return True
        return False

    def painted(self, image: Tensor) -> None:
        """This image has been painted: the next ones are compared with it."""
        self._painted, self._skipped = image, 0
