import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler, UNet2DConditionModel
from PIL import Image

from models.base import Message
from models.diffusion.model import StreamDiffusion
from models.diffusion.networks import DENOISING, CheckpointError, Networks
from models.diffusion.options import Denoising, Guidance
from tests.models.diffusion.checkpoints import SIZE

CPU = torch.device("cpu")
SCHEDULER = "scheduler/scheduler_config.json"


def predicting(saved: Path, kind: str, directory: Path) -> Path:
    """The saved pipeline, as if its UNet predicted that."""
    shutil.copytree(saved, directory, dirs_exist_ok=True)
    config = json.loads((directory / SCHEDULER).read_text()) | {"prediction_type": kind}
    (directory / SCHEDULER).write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_whatever_a_unet_predicts_is_taken_as_diffusers_takes_it(saved: Path, tmp_path: Path, kind: str) -> None:
    directory = predicting(saved, kind, tmp_path)
    networks = Networks(directory, torch.float32, CPU)
    theirs = LCMScheduler.from_pretrained(directory, subfolder="scheduler")
    theirs.set_timesteps(50)
    drawn = torch.Generator().manual_seed(1)
    timestep, latents, words = theirs.timesteps[30], torch.randn(1, 4, 8, 8, generator=drawn), networks.embed("a cat")
    unet = UNet2DConditionModel.from_pretrained(directory, subfolder="unet")
    with torch.inference_mode():
        output = unet(latents, timestep, encoder_hidden_states=words[None]).sample
    expected = theirs.step(output, timestep, latents).denoised

    alpha, beta = networks.schedule.levels(timestep[None])
    clean = (latents - beta * networks.predict(latents, timestep[None], words[None])) / alpha
    skip, out = theirs.get_scalings_for_boundary_condition_discrete(timestep)
    torch.testing.assert_close(out * clean + skip * latents, expected, rtol=1e-4, atol=1e-4)


def test_unknown_prediction(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="prediction_type: 'soup'"):
        Networks(predicting(saved, "soup", tmp_path), torch.float32, CPU)


def test_a_checkpoint_says_how_it_is_used(saved: Path, tmp_path: Path) -> None:
    assert Networks(saved, torch.float32, CPU).denoising == Denoising()
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    (tmp_path / DENOISING).write_text('{"t_indices": [45], "guidance": "none"}')
    assert Networks(tmp_path, torch.float32, CPU).denoising == Denoising((45,), Guidance.NONE)

    model = StreamDiffusion(tmp_path, 1, height=SIZE, width=SIZE)
    model.open(0, {"prompt": "a cat", "denoising": {"seed": 3}})
    file = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE)).save(file, "PNG")
    model.push(0, Message("frame", 7, file.getvalue()))
    assert [(output.kind, output.pts) for output in model.step("frame", [0])] == [("frame", 7)]

    (tmp_path / DENOISING).write_text('{"t_indices": [50]}')
    with pytest.raises(CheckpointError, match=r"denoising\.json.*t_indices"):
        Networks(tmp_path, torch.float32, CPU)
