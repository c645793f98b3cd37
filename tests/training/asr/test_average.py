from pathlib import Path

import torch
import typer
from typer.testing import CliRunner

from models.asr.fastconformer.checkpoint import load, save
from models.asr.fastconformer.config import Config, EncoderConfig
from tests.training.asr.tones import vocabulary
from training.asr import average
from training.asr.train import new_network

APP = typer.Typer()
APP.command()(average.main)
ENCODER = EncoderConfig(layers=1, width=16, heads=2, feedforward=32, subsampling_channels=8)


def test_every_weight_of_the_mean_lies_half_way(tmp_path: Path) -> None:
    tokens = vocabulary()
    for seed, name in enumerate(("one", "other")):
        torch.manual_seed(seed)
        save(tmp_path / name, new_network(Config(len(tokens), ENCODER), dropout=0), tokens, torch.float32)
    result = CliRunner().invoke(
        APP, [*(str(tmp_path / name) for name in ("one", "other")), "--out", str(tmp_path / "mean")]
    )
    assert result.exit_code == 0, result.output
    one, other, mean = (load(tmp_path / name).network.state_dict() for name in ("one", "other", "mean"))
    for name in mean:
        torch.testing.assert_close(mean[name], (one[name] + other[name]) / 2, rtol=0.01, atol=1e-4)
    assert any(not torch.equal(mean[name], one[name]) for name in mean)
