import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from models.asr.fastconformer.checkpoint import load
from models.asr.fastconformer.ctc import CtcDecoder
from models.asr.fastconformer.frontend import Frontend
from tests.training.asr.tones import tones, vocabulary, write_corpus
from training.asr import train
from training.asr.recipe import read_recipe

APP = typer.Typer()
APP.command()(train.main)
RECIPE = """
vocabulary = 28
lookahead_odds = [0.5, 0.5]
[encoder]
layers = 2
width = 48
heads = 2
feedforward = 96
subsampling_channels = 16
scale_input = false
lookaheads = [1, 6]
[rnnt]
prediction_width = 16
joint_width = 16
[optimisation]
batch_s = 16.0
learning_rate = 6e-3
warmup = 20
dropout = 0.0
rnnt_after = 2
[disturbance]
frequency_masks = 0
time_masks_per_s = 0.0
room = 0.0
colour = 0.0
noise = 0.2
warp = 0.0
"""


def prepare(directory: Path) -> list[str]:
    """What every run in a directory is told."""
    (directory / "recipe.toml").write_text(RECIPE)
    manifest = directory / "train.jsonl"
    if not manifest.exists():
        write_corpus(directory, 60)
        vocabulary().save(directory)
    arguments = [str(directory / "recipe.toml"), str(manifest), "--tokenizer", str(directory / "tokenizer.json")]
    return [*arguments, "--out", str(directory / "out")]


def run(directory: Path, steps: int) -> list[dict[str, float]]:
    result = CliRunner().invoke(APP, [*prepare(directory), "--steps", str(steps), "--threads", "1"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    assert [line["step"] for line in run(tmp_path, 3)] == [1, 2, 3]
    before = load(tmp_path / "out").network.state_dict()
    lines = run(tmp_path, 5)
    assert [line["step"] for line in lines] == [4, 5]
    assert lines[0]["hours"] > 0
    after = load(tmp_path / "out").network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_two_processes_go_on_from_their_mean(tmp_path: Path) -> None:
    """As often as they are told to, and at the end."""
    results = []
    for name, processes, average_every in (("alone", 1, 3), ("once", 2, 3), ("always", 2, 1)):
        directory = tmp_path / name
        directory.mkdir()
        arguments = prepare(directory)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        options = ["--steps", "3", "--threads", "1", "--average-every", str(average_every)]
        done = subprocess.run(
            [*command, train.__name__, *arguments, *options], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        assert [json.loads(line)["step"] for line in done.stdout.splitlines() if line.startswith("{")] == [1, 2, 3]
        results.append(load(directory / "out").network.state_dict())
    for one, other in combinations(results, 2):
        assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_recipe_with_an_unknown_field_names_it(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE + "loudness = 3\n")
    with pytest.raises(ValueError, match="loudness"):
        read_recipe(file)


def test_odds_go_with_lookaheads(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.replace("[0.5, 0.5]", "[1.0]"))
    with pytest.raises(ValueError, match="lookahead_odds"):
        read_recipe(file)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_was_trained_is_recognised(tmp_path: Path) -> None:
    run(tmp_path, 240)
    network, tokens, _ = load(tmp_path / "out")
    said = "cab bc"
    audio = torch.from_numpy(tones(said))[None]
    with torch.inference_mode():
        mels, frames = Frontend(network.config.frontend)(audio, torch.tensor([audio.shape[1]]))
        encoded, _ = network(mels, frames, 1)
    decoder = CtcDecoder(network, 1)
    decoder.reset(0)
    assert tokens.decode([token.id for token in decoder.step([0], encoded)[0].certain]) == said
