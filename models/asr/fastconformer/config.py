"""What a checkpoint says of itself. Nothing about a network is assumed: all of it is read from here."""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(gt=0)]
Prompt = Annotated[int, Meta(ge=0)]
"""Number of a language."""
SUBSAMPLING = 8
"""Mel frames to an encoder frame, of every FastConformer."""
FRAME_S = 0.08
"""Time between encoder frames."""


class FrontendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Log-mel features of 16 kHz audio: a Hann window of `window` samples in an FFT of `fft`, every `hop` samples."""

    mel_bins: Positive = 80
    window: Positive = 400
    hop: Positive = 160
    fft: Positive = 512
    preemphasis: float = 0.97


class EncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The encoder of Rekesh et al. 2023 ("Fast Conformer"), cache-aware after Noroozi et al. 2023 (arXiv 2312.17279).

    `left_context` and `lookaheads` are in encoder frames of 80 ms; the first look-ahead is the default.
    """

    layers: Positive
    width: Positive
    heads: Positive
    feedforward: Positive
    kernel: Positive = 9
    subsampling_channels: Positive = 256
    bias: bool = True
    convolution_bias: bool = True
    scale_input: bool = True
    left_context: Positive = 70
    lookaheads: tuple[Annotated[int, Meta(ge=0)], ...] = (1, 0, 6, 13)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        for lookahead in self.lookaheads:
            if self.left_context % (lookahead + 1):
                raise ValueError(
                    f"left_context ({self.left_context}) must be a multiple of each look-ahead + 1, but lookaheads "
                    f"has {lookahead}"
                )


class RnntConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prediction network (LSTM) and joint network of a transducer (Graves 2012); `max_symbols` per encoder frame."""

    prediction_width: Positive = 640
    prediction_layers: Positive = 1
    joint_width: Positive = 640
    max_symbols: Positive = 10


class PromptConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The language told to a network: one of `prompts`, through an MLP with a layer of `hidden_width`.

    `languages` has the prompt of each ISO-639-1 code; `default` leaves it to the network to find out.
    """

    prompts: Positive
    hidden_width: Positive
    default: Prompt
    languages: Annotated[dict[str, Prompt], Meta(min_length=1)]

    def __post_init__(self) -> None:
        named = {"default": self.default} | {f"languages.{code}": prompt for code, prompt in self.languages.items()}
        for name, prompt in named.items():
            if prompt >= self.prompts:
                raise ValueError(f"{name} ({prompt}) must be less than prompts ({self.prompts})")

    def number(self, language: str | None) -> int:
        """The prompt of a language, or of one that is not given. Raises ValueError for one that is not known."""
        if language is None:
            return self.default
        if language not in self.languages:
            raise ValueError(f"language must be one of {', '.join(self.languages)}; got {language!r}")
        return self.languages[language]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network with `vocabulary` tokens; the blank comes after them. It has a CTC head, an RNNT head, or both."""

    vocabulary: Positive
    encoder: EncoderConfig
    frontend: FrontendConfig = FrontendConfig()
    ctc: bool = True
    rnnt: RnntConfig | None = None
    prompt: PromptConfig | None = None

    def __post_init__(self) -> None:
        if not self.ctc and self.rnnt is None:
            raise ValueError("a network needs a CTC or an RNNT head")

    @property
    def blank(self) -> int:
        """Number of the blank token."""
        return self.vocabulary
