import io
import json
from pathlib import Path

import numpy as np
import typer
from PIL import Image
from typer.testing import CliRunner

from models.base import Message
from models.diffusion.model import StreamDiffusion
from tests.training.diffusion.toy import write_lessons, write_perceptual, write_text_encoder
from training.diffusion import train

APP = typer.Typer()
APP.command()(train.main)
RECIPE = """
window = 32
[autoencoder]
latent_channels = 4
encoder_block_out_channels = [16, 16]
decoder_block_out_channels = [16, 16]
num_encoder_blocks = [0, 1]
num_decoder_blocks = [1, 1]
scaling_factor = 1.0
[unet]
sample_size = 16
in_channels = 4
out_channels = 4
block_out_channels = [16, 16]
layers_per_block = 1
down_block_types = ["DownBlock2D", "DownBlock2D"]
up_block_types = ["UpBlock2D", "UpBlock2D"]
mid_block_type = "UNetMidBlock2D"
cross_attention_dim = 16
addition_embed_type = "text"
addition_embed_type_num_heads = 2
resnet_time_scale_shift = "scale_shift"
norm_num_groups = 8
[scheduler]
beta_start = 0.0001
beta_end = 0.004
beta_schedule = "scaled_linear"
prediction_type = "sample"
[denoising]
t_indices = [45]
[likeness]
colours = 1.0
textures = 0.1
[reconstruction]
steps = 100
batch = 8
side = 32
learning_rate = 1e-2
warmup = 5
[[painting]]
steps = @STEPS@
batch = 8
side = 32
learning_rate = 2e-3
warmup = 5
"""


def run(directory: Path, steps: int, out: str = "out", *options: str) -> list[dict[str, float]]:
    (directory / "recipe.toml").write_text(RECIPE.replace("@STEPS@", str(steps)))
    if not (directory / "lessons").exists():
        write_lessons(directory / "lessons")
        write_text_encoder(directory / "bert")
        write_perceptual(directory / "perceptual.pth")
    places = {"text-encoder": "bert", "perceptual": "perceptual.pth", "out": out}
    given = [f"--{name}={directory / place}" for name, place in places.items()]
    arguments = [str(directory / "recipe.toml"), str(directory / "lessons"), *given, "--threads=1", *options]
    result = CliRunner().invoke(APP, arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def test_a_run_learns_goes_on_where_it_stopped_and_is_served(tmp_path: Path) -> None:
    lines = run(tmp_path, 100)
    assert [(line["phase"], line["step"]) for line in lines] == [(phase, n) for phase in (0, 1) for n in range(1, 101)]
    for phase in (lines[:100], lines[100:]):
        first, last = ([line["pixels"] for line in part] for part in (phase[:10], phase[-10:]))
        assert sum(last) < 0.8 * sum(first)
    assert [(line["phase"], line["step"]) for line in run(tmp_path, 102)] == [(1, 101), (1, 102)]

    further = run(tmp_path, 3, "further", f"--start={tmp_path / 'out'}")
    assert [(line["phase"], line["step"]) for line in further] == [(1, 1), (1, 2), (1, 3)]
    assert further[0]["pixels"] < 0.8 * lines[100]["pixels"]

    model = StreamDiffusion(tmp_path / "out", 1, height=64, width=64)
    model.open(0, {"prompt": "a comic"})
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    model.push(0, Message("frame", 0, file.getvalue()))
    (painted,) = model.step("frame", [0])
    assert np.asarray(Image.open(io.BytesIO(painted.data))).shape == (64, 64, 3)
