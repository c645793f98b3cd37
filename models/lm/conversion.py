"""GGUF checkpoints in Hugging Face form: dequantised to bf16 once and kept beside the file.

Reading GGUF takes seconds, mapping safetensors none; and everything else sees one form of checkpoint.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from filelock import FileLock
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from models.lm.config import UnsupportedModel, to_huggingface
from models.lm.gguf_file import GgufFile

log = logging.getLogger(__name__)

STAMP = "source.json"
CONTROL, USER_DEFINED = 3, 4
"""GGUF token types: markup such as <|im_end|>, and text that is always one token."""
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def huggingface_form(directory: Path) -> Path:
    """Where the checkpoint in `directory` lies in Hugging Face form: there, or beside its GGUF file, converted if that
    was not done yet. Raises UnsupportedModel, and OSError if the result cannot be kept.
    """
    files = sorted(directory.glob("*.gguf"))
    if not files:
        return directory
    if len(files) > 1:
        raise UnsupportedModel(f"{directory} has {len(files)} GGUF files; split checkpoints are not implemented")
    path = files[0]
    converted = path.with_suffix(".bf16")
    with FileLock(f"{converted}.lock"):
        if _read_json(converted / STAMP) != _stamp(path):
            log.info("dequantising %s", path.name)
            _convert(path, converted)
    return converted


def _stamp(path: Path) -> dict[str, Any]:
    """What tells that a conversion was made from another file."""
    status = path.stat()
    return {"source": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _convert(path: Path, converted: Path) -> None:
    partial = converted.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir()
    try:
        file = GgufFile(path)
        tokenizer, settings = _tokenizer(file.metadata)
        tokenizer.save(str(partial / "tokenizer.json"))
        _write_json(partial / "tokenizer_config.json", settings)
        _write_json(partial / "config.json", to_huggingface(file.config))
        weights = {name: value.to(torch.bfloat16) for name, value in file.tensors()}
        save_file(weights, partial / "model.safetensors")
        _write_json(partial / STAMP, _stamp(path))
        shutil.rmtree(converted, ignore_errors=True)
        partial.rename(converted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _tokenizer(metadata: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer and the contents of its `tokenizer_config.json`."""
    if metadata["tokenizer.ggml.model"] != "gpt2":
        raise UnsupportedModel(f"tokenizer {metadata['tokenizer.ggml.model']!r} is not implemented, only 'gpt2'")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = tokenizers.Tokenizer(models.BPE({text: index for index, text in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(metadata["tokenizer.ggml.pre"])
    tokenizer.decoder = decoders.ByteLevel()
    types = metadata["tokenizer.ggml.token_type"]
    added = [
        AddedToken(text, special=kind == CONTROL, normalized=False)
        for text, kind in zip(tokens, types, strict=True)
        if kind in (CONTROL, USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    settings = {"eos_token": tokens[metadata["tokenizer.ggml.eos_token_id"]]}
    if "tokenizer.ggml.bos_token_id" in metadata:
        settings["bos_token"] = tokens[metadata["tokenizer.ggml.bos_token_id"]]
    if "tokenizer.chat_template" in metadata:
        settings["chat_template"] = metadata["tokenizer.chat_template"]
    return tokenizer, settings


def _pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    match name:
        case "smollm":
            digits = pre_tokenizers.Digits(individual_digits=True)
            parts = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        case "qwen2":
            split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
            parts = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        case _:
            raise UnsupportedModel(f"pre-tokenizer {name!r} is not implemented; known are 'smollm', 'qwen2'")
    return pre_tokenizers.Sequence(parts)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))
