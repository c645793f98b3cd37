"""How a session wants its frames restyled. Imports no torch: gateways check what clients ask for."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from models.base import StreamError

INFERENCE_STEPS = 50
"""Timesteps that `t_indices` count, as in StreamDiffusion."""
MAX_FRAME_BYTES = 4 << 20
MAX_STAGES = 4
MAX_PROMPTS = 4
MAX_PROMPT_CHARS = 2_000
MAX_TRANSITION_FRAMES = 1_000

Index = Annotated[int, Meta(ge=0, lt=INFERENCE_STEPS)]
Text = Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)]


class Guidance(StrEnum):
    """What a prediction for the prompt is moved away from (arXiv 2312.12491, section 3.2)."""

    NONE = "none"
    SELF = "self"
    """The session's own stock noise: no further rows."""
    ONE_TIME = "one_time"
    """A prediction for the negative prompt at the first stage, carried on as stock noise: one more row a frame."""
    FULL = "full"
    """A prediction for the negative prompt at every stage: twice the rows."""


class Blend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt and its share; shares are relative."""

    prompt: Text
    weight: Annotated[float, Meta(gt=0, le=1_000)] = 1.0


class Denoising(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of a frame and the guidance. `t_indices` count down from pure noise, 0, to 49: fewer and later ones
    keep more of the input.
    """

    t_indices: Annotated[tuple[Index, ...], Meta(min_length=1, max_length=MAX_STAGES)] = (32, 45)
    guidance: Guidance = Guidance.SELF
    scale: Annotated[float, Meta(ge=1, le=20)] = 1.2
    delta: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of the stock noise in residual guidance."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 2
    renoise: bool = True
    """Whether noise is added between stages."""

    def __post_init__(self) -> None:
        if any(later <= former for former, later in zip(self.t_indices, self.t_indices[1:], strict=False)):
            raise ValueError(f"`t_indices` must rise, got {list(self.t_indices)}")

    @property
    def guided(self) -> bool:
        """Whether there is anything to move away from."""
        return self.guidance is not Guidance.NONE and self.scale > 1


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stochastic similarity filter (arXiv 2312.12491, section 3.5)."""

    threshold: Annotated[float, Meta(ge=0, lt=1)] = 0.98
    max_skipped: Annotated[int, Meta(ge=1, le=1_000)] = 10


class Fit(StrEnum):
    """How a picture of another shape is fitted."""

    COVER = "cover"
    """Scaled to cover the frame, and cut at the edges."""
    CONTAIN = "contain"
    """Scaled to lie within the frame, on black."""
    STRETCH = "stretch"


class Restyling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session may choose. `prompt` is a text, or several that are blended; a changed one is reached over so many
    frames.
    """

    prompt: Text | Annotated[tuple[Blend, ...], Meta(min_length=1, max_length=MAX_PROMPTS)]
    negative_prompt: Text = ""
    over_frames: Annotated[int, Meta(ge=0, le=MAX_TRANSITION_FRAMES)] = 0
    denoising: Denoising = Denoising()
    filter: Filter | None = None
    fit: Fit = Fit.COVER

    @property
    def blend(self) -> tuple[Blend, ...]:
        """Its prompts and their shares."""
        return (Blend(self.prompt),) if isinstance(self.prompt, str) else self.prompt


def restyling(options: Mapping[str, Any], former: Restyling | None = None) -> Restyling:
    """`options`, over those of `former`. Raises StreamError, which names the field."""
    known = {} if former is None else msgspec.to_builtins(former)
    try:
        return msgspec.convert(merged(known, options), Restyling)
    except msgspec.ValidationError as error:
        raise StreamError(f"restyle: {error}", param="restyle") from error


def merged(known: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`known` with `changes`; what a field holds itself changes by field too."""
    result = dict(known)
    for name, value in changes.items():
        before = known.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = {**before, **value}
        result[name] = value
    return result
