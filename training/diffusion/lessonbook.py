"""Lessons as batches."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from training.diffusion.styles import STYLES


class Lesson(NamedTuple):
    """`pictures` and what is `wanted` of them, uint8 `[B, 3, side, side]`; `styles`, int64 `[B]`, says which look."""

    pictures: Tensor
    wanted: Tensor
    styles: Tensor


class LessonBook(IterableDataset[Lesson]):
    """The shards in a folder, those that come later too, in random cut-outs, without end. Raises ValueError if there
    are none. `often` says how often looks are drawn, by name; others 1.
    """

    def __init__(
        self, folder: Path, batch: int, side: int, seed: int, often: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        super().__init__()
        self._folder, self._batch, self._side = folder, batch, side
        self._drawn = np.random.default_rng(seed)
        self._often = np.array([often.get(style.name, 1.0) for style in STYLES])
        self._photo = next(index for index, style in enumerate(STYLES) if style.number is None)

    def __iter__(self) -> Iterator[Lesson]:
        while True:
            if not (shards := sorted(self._folder.glob("*-styles.npy"))):
                raise ValueError(f"no lessons in {self._folder}")
            taken = [self._lesson(shards[self._drawn.integers(len(shards))]) for _ in range(self._batch)]
            pictures, wanted, styles = zip(*taken, strict=True)
            yield Lesson(_tensor(pictures), _tensor(wanted), torch.tensor(styles))

    def _lesson(self, shard: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
        """One picture, painted in one of its looks or left as it is."""
        name = shard.name.removesuffix("styles.npy")
        styles = np.load(shard)
        row = self._drawn.integers(len(styles))
        often = self._often[styles[row]]
        column = self._drawn.choice(len(often), p=often / often.sum())
        pictures = np.load(shard.with_name(f"{name}pictures.npy"), mmap_mode="r")
        top, left = self._drawn.integers(0, (pictures.shape[1] - self._side) // 4 + 1, 2) * 4
        cut = np.s_[top : top + self._side, left : left + self._side]
        picture = np.array(pictures[row][cut])
        if self._drawn.random() < self._often[self._photo] / self._often.sum():
            return picture, picture, self._photo
        painted = np.load(shard.with_name(f"{name}painted.npy"), mmap_mode="r")
        return picture, np.array(painted[row, column][cut]), int(styles[row, column])


def _tensor(pictures: tuple[NDArray[np.uint8], ...]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
