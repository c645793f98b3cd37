"""NeMo archives of small networks, shaped like the published ones."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from models.asr.fastconformer.network import FastConformer

TOKENIZER = "0123abcd_tokenizer.model"


def config(network: FastConformer) -> dict[str, Any]:
    """What `model_config.yaml` says of a hybrid network, with much that only training reads."""
    encoder, frontend, rnnt = network.config.encoder, network.config.frontend, network.config.rnnt
    assert rnnt is not None
    return {
        "target": "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel",
        "sample_rate": 16_000,
        "model_defaults": {"enc_hidden": encoder.width, "pred_hidden": rnnt.prediction_width},
        "tokenizer": {"dir": None, "type": "bpe", "model_path": f"nemo:{TOKENIZER}", "vocab_path": "nemo:x_vocab.txt"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "NA",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": frontend.mel_bins,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
        },
        "spec_augment": {"freq_masks": 2, "time_masks": 10},
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": frontend.mel_bins,
            "feat_out": -1,
            "n_layers": encoder.layers,
            "d_model": encoder.width,
            "use_bias": True,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": encoder.subsampling_channels,
            "causal_downsampling": True,
            "ff_expansion_factor": encoder.feedforward // encoder.width,
            "self_attention_model": "rel_pos",
            "n_heads": encoder.heads,
            "att_context_size": [[70, 13], [70, 6], [70, 1], [70, 0]],
            "att_context_style": "chunked_limited",
            "att_context_probs": [0.25, 0.25, 0.25, 0.25],
            "xscaling": True,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "layer_norm",
            "conv_context_size": "causal",
            "dropout": 0.1,
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": rnnt.prediction_width, "pred_rnn_layers": rnnt.prediction_layers, "t_max": None},
            "vocab_size": network.config.vocabulary,
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "jointnet": {"joint_hidden": rnnt.joint_width, "activation": "relu", "dropout": 0.2},
            "num_classes": network.config.vocabulary,
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": rnnt.max_symbols}},
        "aux_ctc": {"ctc_loss_weight": 0.3, "decoder": {"num_classes": network.config.vocabulary}},
        "loss": {"loss_name": "default"},
    }


def weights(network: FastConformer) -> dict[str, torch.Tensor]:
    """What `model_weights.ckpt` has."""
    derived = {"preprocessor.featurizer.window": torch.ones(400), "preprocessor.featurizer.fb": torch.ones(1, 80, 257)}
    return network.state_dict() | derived


def members(config: Mapping[str, Any], weights: object, model: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    pickled = io.BytesIO()
    torch.save(weights, pickled)
    text = yaml.safe_dump(dict(config)).encode()
    return {"./model_config.yaml": text, f"./{TOKENIZER}": model, "./model_weights.ckpt": pickled.getvalue()}


def write(path: Path, files: Mapping[str, bytes], compressed: bool = False) -> Path:
    """A tar of `files`."""
    with tarfile.open(path, "w:gz" if compressed else "w") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return path
