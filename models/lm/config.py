"""What a checkpoint says about its network: Hugging Face `config.json` or GGUF metadata, of the Llama and Qwen2 family.

Whatever would change the arithmetic and is not implemented is refused by name rather than ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LLAMA, QWEN2 = "llama", "qwen2"
HF_ARCHITECTURES = {"LlamaForCausalLM": LLAMA, "Qwen2ForCausalLM": QWEN2}
DEFAULT_ROPE_THETA = 10_000.0


class UnsupportedModel(Exception):
    """The checkpoint needs something this decoder does not implement, or lacks a field; the message names it."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of one decoder. `attention_bias` is that of q, k and v; `tied`: the output layer is the embedding."""

    architecture: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    rope_theta: float
    rms_eps: float
    attention_bias: bool
    tied: bool

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise UnsupportedModel(f"{self.heads} heads are not a multiple of {self.kv_heads} key/value heads")


def from_huggingface(config: Mapping[str, Any]) -> DecoderConfig:
    """Read a parsed `config.json`. Raises UnsupportedModel."""
    architecture = _hf_architecture(config)
    _require(config, "hidden_act", "silu", default="silu")
    _require(config, "mlp_bias", False, default=False)
    _require(config, "use_sliding_window", False, default=False)
    if architecture == LLAMA:
        _require(config, "attention_bias", False, default=False)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = rope.get("rope_type", rope.get("type", "default"))
    if scaling != "default":
        raise UnsupportedModel(f"rope scaling {scaling!r} is not implemented")
    hidden, heads = _field(config, "hidden_size"), _field(config, "num_attention_heads")
    return DecoderConfig(
        architecture=architecture,
        layers=_field(config, "num_hidden_layers"),
        hidden=hidden,
        intermediate=_field(config, "intermediate_size"),
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        vocab=_field(config, "vocab_size"),
        max_positions=_field(config, "max_position_embeddings"),
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or DEFAULT_ROPE_THETA),
        rms_eps=float(_field(config, "rms_norm_eps")),
        attention_bias=architecture == QWEN2,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def to_huggingface(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` that `from_huggingface` reads as `config`."""
    names = {architecture: name for name, architecture in HF_ARCHITECTURES.items()}
    return {
        "architectures": [names[config.architecture]],
        "num_hidden_layers": config.layers,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.rms_eps,
        "tie_word_embeddings": config.tied,
    }


def from_gguf(metadata: Mapping[str, Any], *, tied: bool) -> DecoderConfig:
    """Read the key-value pairs of a GGUF file; `tied`: it has no `output.weight`. Raises UnsupportedModel."""
    architecture = _field(metadata, "general.architecture")
    if architecture not in HF_ARCHITECTURES.values():
        raise UnsupportedModel(f"architecture {architecture!r} is not implemented")
    scaling = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none":
        raise UnsupportedModel(f"rope scaling {scaling!r} is not implemented")

    def field(name: str) -> Any:
        return _field(metadata, f"{architecture}.{name}")

    hidden, heads = field("embedding_length"), field("attention.head_count")
    head_dim = metadata.get(f"{architecture}.attention.key_length") or hidden // heads
    rotated = metadata.get(f"{architecture}.rope.dimension_count", head_dim)
    if rotated != head_dim:
        raise UnsupportedModel(f"partial rotation ({rotated} of {head_dim} dimensions) is not implemented")
    return DecoderConfig(
        architecture=architecture,
        layers=field("block_count"),
        hidden=hidden,
        intermediate=field("feed_forward_length"),
        heads=heads,
        kv_heads=metadata.get(f"{architecture}.attention.head_count_kv") or heads,
        head_dim=head_dim,
        vocab=len(_field(metadata, "tokenizer.ggml.tokens")),
        max_positions=field("context_length"),
        rope_theta=float(metadata.get(f"{architecture}.rope.freq_base") or DEFAULT_ROPE_THETA),
        rms_eps=float(field("attention.layer_norm_rms_epsilon")),
        attention_bias=architecture == QWEN2,
        tied=tied,
    )


def _hf_architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or [config.get("model_type")]
    name = str(names[0])
    architecture = HF_ARCHITECTURES.get(name, name)
    if architecture not in HF_ARCHITECTURES.values():
        raise UnsupportedModel(f"architecture {name!r} is not implemented; known are {', '.join(HF_ARCHITECTURES)}")
    return architecture


def _field(config: Mapping[str, Any], name: str) -> Any:
    if config.get(name) is None:
        raise UnsupportedModel(f"the configuration has no {name!r}")
    return config[name]


def _require(config: Mapping[str, Any], name: str, wanted: object, *, default: object) -> None:
    value = config.get(name, default)
    if value != wanted:
        raise UnsupportedModel(f"{name} = {value!r} is not implemented, only {wanted!r}")
