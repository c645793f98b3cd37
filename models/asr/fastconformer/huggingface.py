"""Checkpoints of transformers' `NemotronAsrStreamingForRNNT`, such as `nvidia/nemotron-speech-streaming-en-0.6b`, and
of `Nemotron3_5AsrForRNNT`, which is told the language, such as `nvidia/nemotron-3.5-asr-streaming-0.6b`.

`processor_config.json` has the features, the look-aheads and the languages. Fields with one possible value are there to
refuse others.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from torch import Tensor

from models.asr.fastconformer.config import Config
from models.asr.fastconformer.weights import CheckpointError, configure, decode_json, read_safetensors

PROMPTED = "nemotron3_5_asr"
_LOCALE = re.compile(r"([a-z]{2,3})(-[A-Z]{2})?")
_NAMES = {
    r"^prompt_projector\.linear_1\.": "prompt_kernel.0.",
    r"^prompt_projector\.linear_2\.": "prompt_kernel.2.",
    r"^encoder_projector\.": "joint.enc.",
    r"^decoder\.decoder_projector\.": "joint.pred.",
    r"^joint\.head\.": "joint.joint_net.2.",
    r"^decoder\.embedding\.": "decoder.prediction.embed.",
    r"^decoder\.lstm\.": "decoder.prediction.dec_rnn.lstm.",
    r"\.subsampling\.conv_in\.": ".pre_encode.conv.0.",
    r"\.subsampling\.layers\.0\.depthwise_conv\.": ".pre_encode.conv.2.",
    r"\.subsampling\.layers\.0\.pointwise_conv\.": ".pre_encode.conv.3.",
    r"\.subsampling\.layers\.1\.depthwise_conv\.": ".pre_encode.conv.5.",
    r"\.subsampling\.layers\.1\.pointwise_conv\.": ".pre_encode.conv.6.",
    r"\.subsampling\.linear\.": ".pre_encode.out.",
    r"\.self_attn\.relative_k_proj\.": ".self_attn.linear_pos.",
    r"\.self_attn\.([qkv])_proj\.": r".self_attn.linear_\1.",
    r"\.self_attn\.o_proj\.": ".self_attn.linear_out.",
    r"\.self_attn\.bias_([uv])$": r".self_attn.pos_bias_\1",
    r"\.conv\.norm\.": ".conv.batch_norm.",
}


class _Encoder(msgspec.Struct, frozen=True):
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    num_mel_bins: int = 80
    conv_kernel_size: int = 9
    subsampling_conv_channels: int = 256
    attention_bias: bool = True
    convolution_bias: bool = True
    scale_input: bool = True
    sliding_window: Annotated[int, Meta(gt=1)] = 71
    hidden_act: Literal["silu"] = "silu"
    subsampling_factor: Literal[8] = 8
    subsampling_conv_kernel_size: Literal[3] = 3
    subsampling_conv_stride: Literal[2] = 2


class _Model(msgspec.Struct, frozen=True):
    model_type: Literal["nemotron_asr_streaming", "nemotron3_5_asr"]
    vocab_size: Annotated[int, Meta(gt=1)]
    blank_token_id: int
    encoder_config: _Encoder
    decoder_hidden_size: int = 640
    num_decoder_layers: int = 2
    max_symbols_per_step: int = 10
    hidden_act: Literal["relu"] = "relu"

    def __post_init__(self) -> None:
        if self.blank_token_id != self.vocab_size - 1:
            raise ValueError(f"blank_token_id must be the last of vocab_size ({self.vocab_size})")


class _Features(msgspec.Struct, frozen=True):
    feature_size: int = 80
    win_length: int = 400
    hop_length: Literal[160] = 160
    n_fft: int = 512
    preemphasis: float = 0.97
    sampling_rate: Literal[16000] = 16000


class _Processor(msgspec.Struct, frozen=True):
    feature_extractor: _Features = _Features()
    supported_num_lookahead_tokens: tuple[int, ...] = (13, 6, 1, 0)
    default_num_lookahead_tokens: int | None = None


class _Prompts(msgspec.Struct, frozen=True):
    num_prompts: int
    prompt_intermediate_size: int
    default_prompt_id: int


class _Languages(msgspec.Struct, frozen=True):
    prompt_dictionary: dict[str, int]


def model_type(directory: Path) -> str | None:
    """What transformers calls the network in `directory`; None if transformers did not write it."""
    try:
        return msgspec.json.decode((directory / "config.json").read_bytes(), type=_Kind).model_type
    except (OSError, msgspec.MsgspecError):
        return None


class _Kind(msgspec.Struct, frozen=True):
    model_type: str | None = None


def read(directory: Path) -> tuple[Config, dict[str, Tensor]]:
    """The configuration, and the tensors under NeMo's names. Raises CheckpointError."""
    model = decode_json(directory / "config.json", _Model)
    processor = directory / "processor_config.json"
    prompt = _prompt(directory) if model.model_type == PROMPTED else None
    config = _convert(model, decode_json(processor, _Processor) if processor.exists() else _Processor(), prompt)
    return config, {_rename(name): value for name, value in read_safetensors(directory).items()}


def _prompt(directory: Path) -> dict[str, Any]:
    """The fields of `PromptConfig`. A language has the prompt of its bare code, else that of its first locale."""
    model = decode_json(directory / "config.json", _Prompts)
    prompts = decode_json(directory / "processor_config.json", _Languages).prompt_dictionary
    locales = [(match[1], prompt) for name, prompt in prompts.items() if (match := _LOCALE.fullmatch(name))]
    return {
        "prompts": model.num_prompts,
        "hidden_width": model.prompt_intermediate_size,
        "default": model.default_prompt_id,
        "languages": {code: prompts.get(code, prompt) for code, prompt in reversed(locales)},
    }


def _convert(model: _Model, processor: _Processor, prompt: dict[str, Any] | None) -> Config:
    encoder, features = model.encoder_config, processor.feature_extractor
    first = processor.default_num_lookahead_tokens
    lookaheads = processor.supported_num_lookahead_tokens
    if first is not None:
        lookaheads = (first, *(lookahead for lookahead in lookaheads if lookahead != first))
    if features.feature_size != encoder.num_mel_bins:
        raise CheckpointError(f"feature_size {features.feature_size} is not num_mel_bins {encoder.num_mel_bins}")
    return configure(
        vocabulary=model.vocab_size - 1,
        encoder={
            "layers": encoder.num_hidden_layers,
            "width": encoder.hidden_size,
            "heads": encoder.num_attention_heads,
            "feedforward": encoder.intermediate_size,
            "kernel": encoder.conv_kernel_size,
            "subsampling_channels": encoder.subsampling_conv_channels,
            "bias": encoder.attention_bias,
            "convolution_bias": encoder.convolution_bias,
            "scale_input": encoder.scale_input,
            "left_context": encoder.sliding_window - 1,
            "lookaheads": lookaheads,
        },
        frontend={
            "mel_bins": features.feature_size,
            "window": features.win_length,
            "hop": features.hop_length,
            "fft": features.n_fft,
            "preemphasis": features.preemphasis,
        },
        ctc=False,
        rnnt={
            "prediction_width": model.decoder_hidden_size,
            "prediction_layers": model.num_decoder_layers,
            "joint_width": model.decoder_hidden_size,
            "max_symbols": model.max_symbols_per_step,
        },
        prompt=prompt,
    )


def _rename(name: str) -> str:
    for pattern, replacement in _NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name
