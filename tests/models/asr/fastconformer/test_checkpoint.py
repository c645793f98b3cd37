"""Our own form of checkpoints."""

import json
from pathlib import Path

import pytest
import torch

from models.asr.fastconformer.checkpoint import CheckpointError, load, save
from models.asr.fastconformer.vocabulary import SentencePieceVocabulary
from tests.models.asr.fastconformer import small


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("ctc", "rnnt"), [(True, True), (True, False), (False, True)])
def test_what_is_saved_is_loaded(tmp_path: Path, ctc: bool, rnnt: bool, dtype: torch.dtype) -> None:
    network = small.network(ctc, rnnt)
    save(tmp_path / "new", network, small.vocabulary(), dtype)
    loaded = load(tmp_path / "new")
    assert loaded.network.config == network.config
    for name, value in loaded.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[name].to(dtype).float())
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert loaded.vocabulary.encode("the dog") == small.vocabulary().encode("the dog")


def test_other_vocabularies_and_types(tmp_path: Path) -> None:
    save(tmp_path, small.network(tokens=64), SentencePieceVocabulary(small.sentencepiece_model()))
    loaded = load(tmp_path, torch.bfloat16)
    assert loaded.vocabulary.decode(loaded.vocabulary.encode("New York")) == "New York"
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocabulary", 47, "48 tokens, the network 47"),
        ("vocabulary", 0, "vocabulary"),
        ("unknown", 1, "unknown"),
        ("ctc", False, "surplus ctc_decoder"),
        ("encoder", {}, "layers"),
    ],
)
def test_a_configuration_that_does_not_fit(tmp_path: Path, field: str, value: object, message: str) -> None:
    save(tmp_path, small.network(), small.vocabulary())
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    save(tmp_path, small.network(), small.vocabulary())
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="safetensors" if "model" in name else name):
        load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path / "nowhere")
