"""Pictures as they cross the wire, and as networks want them."""

import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from models.diffusion.options import MAX_FRAME_BYTES, Fit

MAX_SIDE = 8_192
MAX_PIXELS = 36_000_000
"""An 8K frame has 33 million."""
FORMATS = ("JPEG", "WEBP", "PNG")
_QUALITY = 85


class FrameError(Exception):
    """Bytes are not a picture that can be taken."""


def decode(data: bytes, height: int, width: int, fit: Fit = Fit.COVER) -> Tensor:
    """A picture as float32 `[3, height, width]`, -1 to 1; its size and format are checked before its pixels are read.

    Raises FrameError.
    """
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame has at most {MAX_FRAME_BYTES} bytes, got {len(data)}")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE or image.width * image.height > MAX_PIXELS:
                limit = f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all"
                raise FrameError(f"a frame has {limit}, got {image.width}x{image.height}")
            image.draft("RGB", (2 * width, 2 * height))
            pixels = np.array(_fitted(image.convert("RGB"), (width, height), fit))
    except FrameError:
        raise
    except UnidentifiedImageError as error:
        raise FrameError(f"a frame must be one of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FrameError(f"the picture cannot be read: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def encode(image: Tensor) -> bytes:
    """`[3, H, W]`, -1 to 1, as JPEG."""
    pixels = ((image.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    match fit:
        case Fit.COVER:
            return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
        case Fit.CONTAIN:
            return ImageOps.pad(image, size, Image.Resampling.BICUBIC)
        case Fit.STRETCH:
            return image.resize(size, Image.Resampling.BICUBIC)
