"""NeMo archives: all three kinds of network, and what is refused."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.asr.fastconformer import nemo
from models.asr.fastconformer.checkpoint import CheckpointError, load
from models.asr.fastconformer.network import FastConformer
from tests.models.asr.fastconformer import archives, small

MODEL = small.sentencepiece_model()
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def network() -> FastConformer:
    return small.network(tokens=64)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return one.state_dict().keys() == other.state_dict().keys() and all(
        torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items()
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_a_hybrid(network: FastConformer, tmp_path: Path, compressed: bool) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    loaded = load(archives.write(tmp_path / "model.nemo", files, compressed))
    assert same(loaded.network, network)
    assert loaded.network.config.encoder.lookaheads == (13, 6, 1, 0)
    assert loaded.network.config.rnnt == network.config.rnnt
    assert loaded.vocabulary.decode(loaded.vocabulary.encode("The lazy dog")) == "The lazy dog"


def test_a_transducer(network: FastConformer, tmp_path: Path) -> None:
    """Without dropout in the joint network, and for one look-ahead."""
    config = archives.config(network)
    del config["aux_ctc"]
    config["encoder"]["att_context_size"] = [70, 13]
    weights = {
        name.replace("joint_net.2.", "joint_net.1."): value
        for name, value in archives.weights(network).items()
        if not name.startswith("ctc_decoder")
    }
    loaded = load(archives.write(tmp_path / "model.nemo", archives.members(config, weights, MODEL)))
    assert loaded.network.ctc_decoder is None
    assert loaded.network.config.encoder.lookaheads == (13,)
    assert loaded.network.joint is not None
    assert network.joint is not None
    assert same(loaded.network.joint, network.joint)


def test_a_ctc_network(network: FastConformer, tmp_path: Path) -> None:
    config = archives.config(network)
    config["decoder"] = {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "num_classes": 64}
    del config["aux_ctc"], config["joint"]
    weights = {
        name.replace("ctc_decoder.", "decoder."): value
        for name, value in archives.weights(network).items()
        if not name.startswith(("decoder.", "joint."))
    }
    loaded = load(archives.write(tmp_path / "model.nemo", archives.members(config, weights, MODEL)))
    assert loaded.network.config.rnnt is None
    assert loaded.network.ctc_decoder is not None
    assert network.ctc_decoder is not None
    assert same(loaded.network.ctc_decoder, network.ctc_decoder)


REFUSED: dict[str, tuple[Change, str]] = {
    "other norm": (lambda c: c["encoder"].update(conv_norm_type="batch_norm"), r"encoder\.conv_norm_type"),
    "default norm": (lambda c: c["encoder"].pop("conv_norm_type"), "conv_norm_type"),
    "other subsampling": (lambda c: c["encoder"].update(subsampling="striding"), r"encoder\.subsampling"),
    "subsampling by 4": (lambda c: c["encoder"].update(subsampling_factor=4), r"encoder\.subsampling_factor"),
    "subsampling ahead": (lambda c: c["encoder"].update(causal_downsampling=False), "causal_downsampling"),
    "convolution ahead": (lambda c: c["encoder"].update(conv_context_size=[4, 4]), "conv_context_size"),
    "attention anywhere": (lambda c: c["encoder"].update(att_context_style="regular"), r"encoder\.att_context_style"),
    "unlimited context": (lambda c: c["encoder"].update(att_context_size=[-1, 13]), "left_context"),
    "contexts that differ": (
        lambda c: c["encoder"].update(att_context_size=[[70, 1], [56, 6]]),
        "att_context_size",
    ),
    "context not in chunks": (lambda c: c["encoder"].update(att_context_size=[70, 2]), "left_context"),
    "shared biases": (lambda c: c["encoder"].update(untie_biases=False), "untie_biases"),
    "no heads": (lambda c: c["encoder"].update(n_heads=0), "heads"),
    "text for a number": (lambda c: c["encoder"].update(n_layers="${x}"), r"encoder\.n_layers"),
    "no layers": (lambda c: c["encoder"].pop("n_layers"), "n_layers"),
    "no encoder": (lambda c: c.pop("encoder"), "encoder"),
    "normalised features": (lambda c: c["preprocessor"].update(normalize="per_feature"), r"preprocessor\.normalize"),
    "other hop": (lambda c: c["preprocessor"].update(window_stride=0.02), "window_stride"),
    "other rate": (lambda c: c["preprocessor"].update(sample_rate=8000), r"preprocessor\.sample_rate"),
    "other bins": (lambda c: c["preprocessor"].update(features=64), "feat_in"),
    "durations": (lambda c: c["joint"].update(num_extra_outputs=5), r"joint\.num_extra_outputs"),
    "other tokenizer": (lambda c: c["tokenizer"].update(type="wpe"), r"tokenizer\.type"),
    "tokenizer elsewhere": (lambda c: c["tokenizer"].update(model_path="/etc/passwd"), "has no /etc/passwd"),
    "other vocabulary": (lambda c: c["decoder"].update(vocab_size=63), "64 tokens, the network 63"),
    "other width": (lambda c: c["encoder"].update(d_model=64), r"pre_encode\.out\.weight is \[32, 88\], expected"),
    "no prediction": (lambda c: c["decoder"].pop("prednet"), "prednet"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_implemented(network: FastConformer, tmp_path: Path, change: Change, message: str) -> None:
    config = archives.config(network)
    change(config)
    files = archives.members(config, archives.weights(network), MODEL)
    with pytest.raises(CheckpointError, match=message):
        load(archives.write(tmp_path / "model.nemo", files))


def test_every_difference_is_listed(network: FastConformer, tmp_path: Path) -> None:
    weights = archives.weights(network)
    del weights["encoder.layers.0.norm_out.bias"]
    weights["prompt_kernel.0.weight"] = torch.zeros(1)
    weights["joint.enc.bias"] = torch.zeros(3)
    files = archives.members(archives.config(network), weights, MODEL)
    with pytest.raises(CheckpointError) as caught:
        load(archives.write(tmp_path / "model.nemo", files))
    assert str(caught.value) == (
        "missing encoder.layers.0.norm_out.bias; surplus prompt_kernel.0.weight; joint.enc.bias is [3], expected [40]"
    )


class _Harm:
    """Pickled code: it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def test_no_code_is_unpickled(network: FastConformer, tmp_path: Path) -> None:
    weights = {**archives.weights(network), "harm": _Harm(tmp_path / "done")}
    files = archives.members(archives.config(network), weights, MODEL)
    with pytest.raises(CheckpointError, match="more than tensors"):
        load(archives.write(tmp_path / "model.nemo", files))
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("weights", [[1], {"encoder": "text"}])
def test_only_tensors_are_weights(network: FastConformer, tmp_path: Path, weights: object) -> None:
    files = archives.members(archives.config(network), weights, MODEL)
    with pytest.raises(CheckpointError, match="dictionary of tensors"):
        load(archives.write(tmp_path / "model.nemo", files))


@pytest.mark.parametrize("missing", ["model_config.yaml", "model_weights.ckpt", archives.TOKENIZER])
def test_a_member_is_missing(network: FastConformer, tmp_path: Path, missing: str) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    del files[f"./{missing}"]
    with pytest.raises(CheckpointError, match=f"has no {missing}"):
        load(archives.write(tmp_path / "model.nemo", files))


@pytest.mark.parametrize("name", ["../model_config.yaml", "/model_config.yaml", "a/../../b"])
def test_members_outside_of_the_archive(network: FastConformer, tmp_path: Path, name: str) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    with pytest.raises(CheckpointError, match="unsafe member"):
        load(archives.write(tmp_path / "model.nemo", {**files, name: b""}))


def test_a_link(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.nemo", "w") as archive:
        link = tarfile.TarInfo("model_config.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(CheckpointError, match="unsafe member"):
        load(tmp_path / "model.nemo")


def test_too_large_a_member(network: FastConformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    path = archives.write(tmp_path / "model.nemo", files)
    monkeypatch.setattr(nemo, "MAX_WEIGHTS_BYTES", 1000)
    with pytest.raises(CheckpointError, match=r"model_weights\.ckpt has \d+ bytes"):
        load(path)


@pytest.mark.parametrize("size", [0, 100, 700, 30_000])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_cut_file(network: FastConformer, tmp_path: Path, size: int, compressed: bool) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    whole = archives.write(tmp_path / "model.nemo", files, compressed)
    (tmp_path / "cut.nemo").write_bytes(whole.read_bytes()[:size])
    with pytest.raises(CheckpointError):
        load(tmp_path / "cut.nemo")


@pytest.mark.parametrize("text", [b"a: [", b"- 1", b"", b"!!python/object/apply:os.system [ls]"])
def test_a_damaged_configuration(network: FastConformer, tmp_path: Path, text: bytes) -> None:
    files = archives.members(archives.config(network), archives.weights(network), MODEL)
    files["./model_config.yaml"] = text
    with pytest.raises(CheckpointError, match=r"model_config\.yaml"):
        load(archives.write(tmp_path / "model.nemo", files))


def test_a_damaged_tokenizer(network: FastConformer, tmp_path: Path) -> None:
    files = archives.members(archives.config(network), archives.weights(network), b"something else")
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        load(archives.write(tmp_path / "model.nemo", files))
