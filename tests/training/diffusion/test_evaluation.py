import tomllib
from pathlib import Path

import numpy as np
import pytest

from training.diffusion import evaluation
from training.diffusion.evaluation import flicker, sheet, still, structure
from training.diffusion.styles import STYLES

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_structure_is_what_edges_have_in_common() -> None:
    other = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    assert structure(PICTURE, PICTURE) == pytest.approx(1)
    assert structure(PICTURE, 255 - PICTURE) == pytest.approx(1, abs=0.01)
    assert abs(structure(PICTURE, other)) < 0.1


def test_flicker_of_a_camera_is_its_noise() -> None:
    """The mean absolute difference of two normal deviates is 2/sqrt(pi) of their deviation, here 2."""
    assert flicker([PICTURE, PICTURE]) == 0
    assert flicker(still(np.full((64, 64, 3), 128, np.uint8), 4)) == pytest.approx(2.26, abs=0.1)


def test_a_sheet_has_a_row_for_each_picture() -> None:
    drawn = sheet([[PICTURE, PICTURE], [PICTURE, PICTURE], [PICTURE, PICTURE]], ["input", "comic"], side=50)
    assert drawn.size == (2 * 54, 16 + 3 * 54)
    assert sheet([[PICTURE] * 11], ["look"] * 11, side=50).size == (9 * 54, 2 * (16 + 54))


def test_training_never_says_what_the_evaluation_asks() -> None:
    asked = tomllib.loads(Path(evaluation.__file__).with_name("heldout.toml").read_text())
    assert list(asked) == [style.name for style in STYLES]
    assert {len(set(prompts)) for prompts in asked.values()} == {12}
    said = {phrase.lower() for style in STYLES for phrase in style.phrases}
    assert not said & {prompt.lower() for prompts in asked.values() for prompt in prompts}
