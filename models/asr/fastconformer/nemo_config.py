"""The `model_config.yaml` of NeMo's archives.

Fields with one possible value are there to refuse others; what only matters in training is not read.
"""

from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from models.asr.fastconformer.config import Config
from models.asr.fastconformer.weights import CheckpointError, configure
from models.audio import SAMPLE_RATE_HZ

FILE = "model_config.yaml"
HOP_SAMPLES = 160
DEFAULT_MAX_SYMBOLS = 10


class _Preprocessor(msgspec.Struct, frozen=True):
    window_size: float
    window_stride: float
    features: int
    normalize: Literal["NA"]
    n_fft: int | None = None
    preemph: float | None = 0.97
    sample_rate: Literal[16000] = 16000
    window: Literal["hann"] = "hann"
    frame_splicing: Literal[1] = 1
    mag_power: Annotated[float, Meta(ge=2, le=2)] = 2.0
    mel_norm: Literal["slaney"] = "slaney"
    lowfreq: Literal[0] = 0
    highfreq: Literal[None, 8000] = None
    log: bool = True

    def __post_init__(self) -> None:
        if not self.log:
            raise ValueError("log must be true")
        if round(self.window_stride * SAMPLE_RATE_HZ) != HOP_SAMPLES:
            raise ValueError(f"window_stride must be 0.01, not {self.window_stride}")


class _Encoder(msgspec.Struct, frozen=True):
    feat_in: int
    n_layers: int
    d_model: int
    n_heads: int
    att_context_size: list[int | list[int]]
    att_context_style: Literal["chunked_limited"]
    conv_norm_type: Literal["layer_norm"]
    conv_context_size: Literal["causal"] | list[int]
    subsampling: Literal["dw_striding"]
    subsampling_factor: Literal[8]
    causal_downsampling: bool
    conv_kernel_size: int = 31
    subsampling_conv_channels: int = -1
    ff_expansion_factor: int = 4
    use_bias: bool = True
    xscaling: bool = True
    untie_biases: bool = True
    self_attention_model: Literal["rel_pos"] = "rel_pos"
    feat_out: Literal[None, -1] = None
    reduction: Literal[None] = None
    global_tokens: Literal[0] = 0

    def __post_init__(self) -> None:
        if not self.causal_downsampling:
            raise ValueError("causal_downsampling must be true")
        if not self.untie_biases:
            raise ValueError("untie_biases must be true")
        if self.conv_context_size not in ("causal", [self.conv_kernel_size - 1, 0]):
            raise ValueError(f"conv_context_size must be causal, not {self.conv_context_size}")

    def contexts(self) -> tuple[int, list[int]]:
        """Left context and look-aheads. Raises CheckpointError."""
        sizes = self.att_context_size
        single = [size for size in sizes if isinstance(size, int)]
        pairs = [size for size in sizes if isinstance(size, list)] or [single]
        if any(len(pair) != 2 for pair in pairs) or len({pair[0] for pair in pairs}) != 1:
            raise CheckpointError(f"att_context_size {sizes} must be pairs that differ in the look-ahead only")
        return pairs[0][0], list(dict.fromkeys(pair[1] for pair in pairs))


class _Prednet(msgspec.Struct, frozen=True):
    pred_hidden: int
    pred_rnn_layers: int = 1


class _Decoder(msgspec.Struct, frozen=True):
    prednet: _Prednet | None = None
    num_classes: int | None = None
    vocab_size: int | None = None
    normalization_mode: Literal[None] = None


class _Jointnet(msgspec.Struct, frozen=True):
    joint_hidden: int
    activation: Literal["relu"] = "relu"


class _Joint(msgspec.Struct, frozen=True):
    jointnet: _Jointnet
    num_extra_outputs: Literal[0] = 0


class _Greedy(msgspec.Struct, frozen=True):
    max_symbols: int | None = None


class _Decoding(msgspec.Struct, frozen=True):
    greedy: _Greedy = _Greedy()


class _Tokenizer(msgspec.Struct, frozen=True):
    type: Literal["bpe"]
    model_path: str


class NemoConfig(msgspec.Struct, frozen=True):
    """What is read of the file."""

    preprocessor: _Preprocessor
    encoder: _Encoder
    decoder: _Decoder
    tokenizer: _Tokenizer
    joint: _Joint | None = None
    aux_ctc: dict[str, Any] | None = None
    decoding: _Decoding = _Decoding()


def parse(text: bytes) -> NemoConfig:
    """Read the file. Raises CheckpointError, which names the field."""
    try:
        return msgspec.convert(yaml.safe_load(text), NemoConfig)
    except (yaml.YAMLError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{FILE}: {error}") from error


def convert(model: NemoConfig, tokens: int) -> Config:
    """Our form, where `tokens` is the size of the tokenizer. Raises CheckpointError."""
    encoder, preprocessor, decoder = model.encoder, model.preprocessor, model.decoder
    if encoder.feat_in != preprocessor.features:
        raise CheckpointError(f"encoder.feat_in {encoder.feat_in} is not preprocessor.features {preprocessor.features}")
    if model.joint and decoder.prednet is None:
        raise CheckpointError("a joint network needs decoder.prednet")
    left_context, lookaheads = encoder.contexts()
    window = round(preprocessor.window_size * SAMPLE_RATE_HZ)
    rnnt = (
        decoder.prednet
        and model.joint
        and {
            "prediction_width": decoder.prednet.pred_hidden,
            "prediction_layers": decoder.prednet.pred_rnn_layers,
            "joint_width": model.joint.jointnet.joint_hidden,
            "max_symbols": model.decoding.greedy.max_symbols or DEFAULT_MAX_SYMBOLS,
        }
    )
    return configure(
        vocabulary=decoder.vocab_size or decoder.num_classes or tokens,
        encoder={
            "layers": encoder.n_layers,
            "width": encoder.d_model,
            "heads": encoder.n_heads,
            "feedforward": encoder.d_model * encoder.ff_expansion_factor,
            "kernel": encoder.conv_kernel_size,
            "subsampling_channels": encoder.d_model
            if encoder.subsampling_conv_channels == -1
            else encoder.subsampling_conv_channels,
            "bias": encoder.use_bias,
            "convolution_bias": encoder.use_bias,
            "scale_input": encoder.xscaling,
            "left_context": left_context,
            "lookaheads": lookaheads,
        },
        frontend={
            "mel_bins": preprocessor.features,
            "window": window,
            "hop": HOP_SAMPLES,
            "fft": preprocessor.n_fft or 1 << (window - 1).bit_length(),
            "preemphasis": preprocessor.preemph or 0.0,
        },
        ctc=model.aux_ctc is not None or model.joint is None,
        rnnt=rnnt,
    )
