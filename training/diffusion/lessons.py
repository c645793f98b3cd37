"""Pictures and what the teacher makes of them: `python -m training.diffusion.lessons TEACHER OUT FOLDER...`.

OUT gets shards of 64 lessons: `NNNN-pictures.npy` uint8 `[64, 256, 256, 3]`, `NNNN-painted.npy` uint8
`[64, 3, 256, 256, 3]` and `NNNN-styles.npy` int64 `[64, 3]`, indices into the styles of `styles.toml`. The same command
adds to what is there.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from training.diffusion.pictures import LEAST_SIDE, cuts, files, pictures
from training.diffusion.styles import STYLES
from training.diffusion.teacher import Teacher

LESSONS = 64
"""In a shard."""
_PAINTED = 3
_POOL = 1_024
"""Cut-outs that are shuffled together, since those of one picture come one after the other."""


def shuffled(folders: Sequence[Path], drawn: random.Random) -> Iterator[Image.Image]:
    """Cut-outs of everything below `folders`, in random order, without end. Raises ValueError if there are none."""
    found = files(folders)
    pool: list[Image.Image] = []
    while True:
        drawn.shuffle(found)
        for file in found:
            for picture in pictures(file):
                pool.extend(cuts(picture, drawn))
                while len(pool) > _POOL:
                    index = drawn.randrange(len(pool))
                    pool[index], pool[-1] = pool[-1], pool[index]
                    yield pool.pop()
        if not pool:
            raise ValueError(f"no image or video of at least {LEAST_SIDE} pixels a side in {[*map(str, folders)]}")


def main(
    teacher_file: Annotated[Path, typer.Argument(metavar="TEACHER", exists=True, help="multistyle26.onnx.")],
    out: Annotated[Path, typer.Argument(help="Where the shards go.")],
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", exists=True, help="Images and videos.")],
    shards: Annotated[int, typer.Option(min=1, help="How many there shall be in all.")] = 64,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Make lessons."""
    out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(teacher_file)
    numbers = [style.number for style in STYLES if style.number is not None]
    first = len(list(out.glob("*-styles.npy")))
    drawn = random.Random(f"{seed}-{first}")
    cut_outs = shuffled(folders, drawn)
    for shard in range(first, shards):
        taken = np.stack([np.asarray(next(cut_outs)) for _ in range(LESSONS)])
        styles = np.array([drawn.sample(range(len(numbers)), _PAINTED) for _ in range(LESSONS)])
        painted = np.stack(
            [
                [teacher(picture, numbers[style]) for style in wanted]
                for picture, wanted in zip(taken, styles, strict=True)
            ]
        )
        np.save(out / f"{shard:04}-pictures.npy", taken)
        np.save(out / f"{shard:04}-painted.npy", painted)
        np.save(out / f"{shard:04}-styles.npy", styles)
        print(f"shard {shard + 1} of {shards}", flush=True)


if __name__ == "__main__":
    typer.run(main)
