"""Pictures to practise on: square cut-outs of photographs, wallpapers and frames of videos."""

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from PIL import Image, ImageOps

logger = logging.getLogger(__name__)

SIDE = 256
"""Of a cut-out, pixels."""
LEAST_SIDE = 200
"""Of a picture."""
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_VIDEOS = frozenset({".avi", ".mp4", ".webm", ".mkv"})
_FRAMES_APART = 25
_LARGEST_CUTS = 24


def files(folders: Sequence[Path]) -> list[Path]:
    """Images and videos below `folders`, sorted."""
    found = (file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in _IMAGES | _VIDEOS)
    return sorted(file for file in found if file.is_file())


def pictures(file: Path) -> Iterator[Image.Image]:
    """The image in a file, or every 25th frame of a video; those too small are left out. A file that cannot be read
    is left out too, and logged.
    """
    try:
        if file.suffix.lower() in _IMAGES:
            with Image.open(file) as image:
                found = iter([ImageOps.exif_transpose(image).convert("RGB")])
        else:
            found = _frames(file)
        yield from (picture for picture in found if min(picture.size) >= LEAST_SIDE)
    except (OSError, ValueError, Image.DecompressionBombError, av.FFmpegError) as error:
        logger.warning("%s: %s", file, error)


def cuts(picture: Image.Image, drawn: random.Random) -> Iterator[Image.Image]:
    """Random squares of a picture, more of a larger one, 256 by 256, some mirrored."""
    shorter = min(picture.size)
    for _ in range(min(_LARGEST_CUTS, 1 + picture.width * picture.height // 150_000)):
        side = drawn.randint(max(LEAST_SIDE, shorter // 4), shorter)
        left, top = drawn.randint(0, picture.width - side), drawn.randint(0, picture.height - side)
        cut = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
        yield ImageOps.mirror(cut) if drawn.random() < 0.5 else cut


def _frames(file: Path) -> Iterator[Image.Image]:
    with av.open(str(file)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number % _FRAMES_APART == 0:
                yield frame.to_image()  # type: ignore[no-untyped-call]
