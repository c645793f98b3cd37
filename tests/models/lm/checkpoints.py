"""Small checkpoints with random weights, made by transformers, and a tokenizer of bytes."""

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
END = len(ALPHABET)
VOCAB = len(ALPHABET) + 4
TEMPLATE = (
    "{% for message in messages %}{{ message.role + ':' + message.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 96,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "eos_token_id": END,
    "bos_token_id": None,
    "pad_token_id": None,
}


def network(architecture: str, tied: bool) -> Any:
    """A transformers model in fp32 with random weights, biases and norms too."""
    torch.manual_seed(1)
    model: Any
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=24, tie_word_embeddings=tied))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=tied))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
            elif "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model.eval()


def write(directory: Path, architecture: str = "llama", tied: bool = False) -> Any:
    """Save a checkpoint; returns its transformers model."""
    model = network(architecture, tied)
    model.save_pretrained(directory)
    tokenizer = tokenizers.Tokenizer(models.BPE({text: index for index, text in enumerate(ALPHABET)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken("<end>", special=True, normalized=False)])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"chat_template": TEMPLATE, "eos_token": "<end>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return model
