"""Checkpoints of transformers: loaded, and decoded as its own `generate` does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from models.asr.fastconformer.checkpoint import CheckpointError, load
from models.asr.fastconformer.transducer import TransducerDecoder
from tests.models.asr.fastconformer import small

hf: Any = transformers
SCALES = {"embedding": 2.0, "encoder_projector": 0.6, "decoder_projector": 0.8, "joint": 0.5}
BLANK = small.VOCABULARY
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "subsampling_conv_channels": 8,
    "num_mel_bins": 16,
}


def network(layers: int = 2) -> Any:
    torch.manual_seed(3)
    config = hf.NemotronAsrStreamingConfig(
        vocab_size=BLANK + 1,
        blank_token_id=BLANK,
        pad_token_id=BLANK,
        decoder_hidden_size=24,
        num_decoder_layers=layers,
        max_symbols_per_step=3,
        encoder_config={**SIZES, "scale_input": False},
    )
    model = hf.NemotronAsrStreamingForRNNT(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and "bias" not in name:
                parameter.normal_(std=next((std for part, std in SCALES.items() if part in name), 0.3))
        model.joint.head.bias[-1] += 5.5
    model.generation_config.decoder_start_token_id = BLANK
    return model


def write(directory: Path, model: Any) -> None:
    model.save_pretrained(directory)
    tokenizer = hf.ParakeetTokenizer(tokenizer_object=tokenizers.Tokenizer.from_str(small.vocabulary().serialised()))
    tokenizer.add_tokens([tokenizers.AddedToken("<blank>", normalized=False, special=True)])
    tokenizer.add_special_tokens({"pad_token": "<blank>"})
    features = hf.NemotronAsrStreamingFeatureExtractor(feature_size=16)
    hf.NemotronAsrStreamingProcessor(features, tokenizer, default_num_lookahead_tokens=1).save_pretrained(directory)


@pytest.mark.parametrize("layers", [1, 2])
def test_tokens_are_those_of_generate(tmp_path: Path, layers: int) -> None:
    """In a batch of ragged utterances; frames follow from the durations that it returns."""
    model = network(layers)
    write(tmp_path, model)
    loaded = load(tmp_path)
    torch.manual_seed(5)
    mels = 3 * torch.randn(3, 400, 16)
    lengths = torch.tensor([400, 250, 321])
    valid = torch.arange(400) < lengths[:, None]
    with torch.inference_mode():
        made = model.generate(
            input_features=mels, attention_mask=valid.long(), num_lookahead_tokens=6, max_new_tokens=500
        )
        encoded, counts = loaded.network(mels, lengths, 6)
    decoder = TransducerDecoder(loaded.network, 4)
    for row in range(3):
        ids, advances = made.sequences[row, 1:], made.durations[row, 1:]
        frames = advances.cumsum(0) - advances
        wanted = [(int(i), int(f)) for i, f in zip(ids, frames, strict=True) if i != BLANK and f < counts[row]]
        decoder.reset(row)
        got = decoder.step([row], encoded[row : row + 1, : counts[row]])[0].certain
        assert [(token.id, token.frame) for token in got] == wanted
        assert len(wanted) > 20


def test_configuration_and_text(tmp_path: Path) -> None:
    write(tmp_path, network())
    loaded = load(tmp_path)
    config = loaded.network.config
    assert (config.vocabulary, config.ctc, config.encoder.lookaheads) == (BLANK, False, (1, 13, 6, 0))
    assert (config.frontend.mel_bins, config.encoder.scale_input, config.encoder.left_context) == (16, False, 70)
    assert loaded.vocabulary.decode(loaded.vocabulary.encode("hello dog")) == "hello dog"


def test_shards(tmp_path: Path) -> None:
    model = network()
    write(tmp_path, model)
    whole = load(tmp_path).network.state_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[:9], names[9:])):
        save_file({name: tensors[name] for name in part}, tmp_path / f"model-{number}.safetensors")
    sharded = load(tmp_path).network.state_dict()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)
    save_file({names[0]: tensors[names[0]]}, tmp_path / "model-2.safetensors")
    with pytest.raises(CheckpointError, match="repeats"):
        load(tmp_path)


Change = Callable[[dict[str, Any]], object]
REFUSED: dict[str, tuple[Change, str]] = {
    "another network": (lambda c: c.update(model_type="parakeet_ctc"), "model_type"),
    "languages": (lambda c: c.update(model_type="nemotron3_5_asr"), "num_prompts"),
    "blank elsewhere": (lambda c: c.update(blank_token_id=0), "blank_token_id"),
    "activation": (lambda c: c["encoder_config"].update(hidden_act="gelu"), r"encoder_config\.hidden_act"),
    "subsampling": (lambda c: c["encoder_config"].update(subsampling_factor=4), r"encoder_config\.subsampling_factor"),
    "no width": (lambda c: c["encoder_config"].pop("hidden_size"), "hidden_size"),
    "text": (lambda c: c["encoder_config"].update(hidden_size="32"), r"encoder_config\.hidden_size"),
    "no heads": (lambda c: c["encoder_config"].update(num_attention_heads=0), "heads"),
    "other bins": (lambda c: c["encoder_config"].update(num_mel_bins=80), "num_mel_bins"),
    "other vocabulary": (lambda c: c.update(vocab_size=9, blank_token_id=8), r"joint_net\.2\.bias is \[49\], expected"),
    "larger vocabulary": (lambda c: c.update(vocab_size=90, blank_token_id=89), "49 tokens, the network 89"),
    "another layer": (lambda c: c["encoder_config"].update(num_hidden_layers=3), r"missing encoder\.layers\.2"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_implemented(tmp_path: Path, change: Change, message: str) -> None:
    write(tmp_path, network())
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    write(tmp_path, network())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"no model\*\.safetensors"):
        load(tmp_path)
