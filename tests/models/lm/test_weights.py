"""Checkpoints that do not hold what their configuration asks for."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.lm import weights
from models.lm.config import UnsupportedModel
from tests.models.lm import checkpoints


def test_every_difference_is_listed(tmp_path: Path) -> None:
    checkpoints.write(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    tensors["model.extra.weight"] = torch.zeros(1)
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(2, 3)
    tensors["model.layers.0.rotary_emb.inv_freq"] = torch.zeros(1)
    save_file(tensors, path)
    with pytest.raises(weights.WeightsError) as caught:
        weights.load(tmp_path)
    message = str(caught.value)
    assert "missing model.norm.weight; surplus model.extra.weight" in message
    assert "model.layers.0.mlp.up_proj.weight is [2, 3], expected [80, 96]" in message
    assert "inv_freq" not in message


def test_shards(tmp_path: Path) -> None:
    checkpoints.write(tmp_path)
    _, whole = weights.load(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[:5], names[5:])):
        save_file({name: tensors[name] for name in part}, tmp_path / f"model-{number}.safetensors")
    _, sharded = weights.load(tmp_path)
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_a_stored_output_layer_of_a_tied_model_is_ignored(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, tied=False)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    assert "lm_head.weight" not in weights.load(tmp_path)[1]


def test_a_directory_without_weights(tmp_path: Path) -> None:
    checkpoints.write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match=r"no \*\.safetensors"):
        weights.load(tmp_path)
