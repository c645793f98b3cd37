"""The checkpoint that ships: it follows prompts it never saw, keeps the scene and does not flicker."""

import io
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image, ImageDraw

from models.base import Message
from models.diffusion.model import StreamDiffusion
from models.diffusion.networks import Networks
from models.linear import fastest_dtype
from training.diffusion import styles
from training.diffusion.evaluation import structure
from training.diffusion.styles import STYLES

SIDE = 256
HELD_OUT = tomllib.loads(Path(styles.__file__).with_name("heldout.toml").read_text())


@pytest.fixture(scope="module")
def directory(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("restyle-small")


@pytest.fixture(scope="module")
def loaded(directory: Path) -> StreamDiffusion:
    return StreamDiffusion(directory, 2, height=SIDE, width=SIDE, dtype=fastest_dtype())


@pytest.fixture
def model(loaded: StreamDiffusion) -> Iterator[StreamDiffusion]:
    yield loaded
    for slot in range(loaded.capacity):
        loaded.close(slot)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A house before hills."""
    image = Image.new("RGB", (SIDE, SIDE), (150, 190, 230))
    draw = ImageDraw.Draw(image)
    draw.ellipse((-60, 120, 140, 320), fill=(90, 130, 70))
    draw.ellipse((90, 140, 340, 340), fill=(110, 150, 80))
    draw.rectangle((90, 110, 180, 200), fill=(200, 90, 60))
    draw.polygon([(80, 110), (135, 60), (190, 110)], fill=(90, 50, 40))
    draw.rectangle((120, 150, 150, 200), fill=(60, 40, 30))
    return np.asarray(image)


def paint(model: StreamDiffusion, slot: int, pts: int, picture: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    model.push(slot, Message("frame", pts, file.getvalue()))


def step(model: StreamDiffusion, slots: list[int]) -> dict[int, np.ndarray]:
    outputs = model.step("frame", slots)
    assert {output.kind for output in outputs} == {"frame"}
    return {output.slot: np.asarray(Image.open(io.BytesIO(output.data)), np.int16) for output in outputs}


def test_prompts_it_never_saw_mean_the_right_look(directory: Path) -> None:
    networks = Networks(directory, torch.float32, torch.device("cpu"))
    pooling = UNet2DConditionModel.from_pretrained(directory, subfolder="unet").add_embedding

    @torch.inference_mode()
    def codes(prompts: list[str]) -> torch.Tensor:
        return torch.as_tensor(pooling(torch.stack([networks.embed(prompt) for prompt in prompts])))

    looks = torch.stack([codes(list(style.phrases[:8])).mean(0) for style in STYLES])
    asked = torch.cat([codes(HELD_OUT[style.name]) for style in STYLES])
    nearest = torch.cdist(asked, looks).argmin(1)
    right = nearest == torch.arange(len(STYLES)).repeat_interleave(12)
    assert right.float().mean() >= 0.9


def test_prompts_look_different_and_the_scene_stays(model: StreamDiffusion, scene: np.ndarray) -> None:
    prompts = "a japanese woodblock print", "everything burns in hell"
    for slot, prompt in enumerate(prompts):
        model.open(slot, {"prompt": prompt})
        paint(model, slot, 0, scene)
    print_, hell = step(model, [0, 1]).values()
    assert np.abs(print_ - hell).mean() > 40
    red, green, blue = hell.mean((0, 1))
    assert red > 1.5 * max(green, blue)
    for painted in (print_, hell):
        assert structure(scene, painted.astype(np.uint8)) > 0.3


def test_a_photograph_is_left_alone(model: StreamDiffusion, scene: np.ndarray) -> None:
    model.open(0, {"prompt": "a photograph"})
    paint(model, 0, 0, scene)
    assert np.abs(step(model, [0])[0] - scene).mean() < 20


def test_a_still_scene_stays_still(model: StreamDiffusion, scene: np.ndarray) -> None:
    model.open(0, {"prompt": "starry night by van gogh"})
    painted = []
    for pts in range(3):
        paint(model, 0, pts, scene)
        painted.append(step(model, [0])[0])
    assert np.abs(painted[1] - painted[0]).max() == np.abs(painted[2] - painted[0]).max() == 0
