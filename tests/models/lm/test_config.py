"""Configurations that are refused, and why."""

from typing import Any

import pytest

from models.lm.config import UnsupportedModel, from_gguf, from_huggingface

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
}
GGUF: dict[str, Any] = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 2,
    "qwen2.embedding_length": 64,
    "qwen2.feed_forward_length": 96,
    "qwen2.attention.head_count": 4,
    "qwen2.attention.head_count_kv": 2,
    "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
    "qwen2.context_length": 128,
    "tokenizer.ggml.tokens": ["a", "b"],
}


def test_old_and_new_places_of_rope_theta() -> None:
    new = {**LLAMA, "rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}
    assert from_huggingface(LLAMA) == from_huggingface(new)
    assert from_huggingface(LLAMA).rope_theta == 5000.0


def test_gguf() -> None:
    config = from_gguf(GGUF, tied=True)
    assert (config.head_dim, config.vocab, config.attention_bias, config.tied) == (16, 2, True, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "architecture 'MambaForCausalLM'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "rope scaling 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "rope scaling 'llama3'"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"mlp_bias": True}, "mlp_bias = True"),
        ({"use_sliding_window": True}, "use_sliding_window = True"),
        ({"hidden_size": None}, "no 'hidden_size'"),
        ({"num_attention_heads": 5}, "5 heads are not a multiple of 2"),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        from_huggingface({**LLAMA, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": "gemma"}, "architecture 'gemma'"),
        ({"qwen2.rope.scaling.type": "linear"}, "rope scaling 'linear'"),
        ({"qwen2.rope.dimension_count": 8}, "partial rotation"),
        ({"qwen2.block_count": None}, "no 'qwen2.block_count'"),
    ],
)
def test_refused_gguf(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        from_gguf({**GGUF, **change}, tied=True)
