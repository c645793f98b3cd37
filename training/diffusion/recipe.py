"""What a training run is: the networks and the optimisation, read from a TOML file."""

from pathlib import Path
from typing import Any

import msgspec

from models.diffusion.options import Denoising
from training.diffusion.losses import Weights


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW, warmed up for `warmup` steps, constant, and falling linearly to zero over the last `decay` of them."""

    steps: int
    batch: int
    side: int
    """Of the cut-outs that are learnt from, pixels."""
    learning_rate: float
    warmup: int = 100
    decay: float = 0.5
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    painted: float = 0.0
    """How often the input of painting is what the teacher made already, as it is at every stage but a frame's first."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run. The networks are given as diffusers' own arguments."""

    autoencoder: dict[str, Any]
    unet: dict[str, Any]
    scheduler: dict[str, Any]
    denoising: Denoising
    """What sessions get that ask for none."""
    reconstruction: Phase
    painting: tuple[Phase, ...]
    """One after the other."""
    faint: float = 0.95
    """How often the noise is that of the fainter half of the timesteps."""
    served: float = 0.8
    """How often it is that of `denoising`, whatever `faint` says."""
    window: int = 256
    """Of what is painted, how much is decoded and compared: squares of so many pixels, in random places."""
    likeness: Weights = Weights()
    """What painting is judged by; the autoencoder by pixels and edges."""
    often: dict[str, float] = {}
    """How often looks are painted; others 1."""


def read_recipe(file: Path) -> Recipe:
    """Raises msgspec.ValidationError, which names the field."""
    return msgspec.toml.decode(file.read_bytes(), type=Recipe)
