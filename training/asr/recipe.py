"""What a training run is: the network, the optimisation and the data's disturbances, read from a TOML file."""

from pathlib import Path

import msgspec

from models.asr.fastconformer.config import EncoderConfig, FrontendConfig, RnntConfig


class Optimisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW, warmed up for `warmup` steps, then constant, then falling linearly to zero over the last `decay` steps."""

    batch_s: float = 40.0
    """Audio in a step, seconds."""
    flat_start: int = 0
    """Steps at first that take undisturbed utterances of up to `flat_start_s` seconds and learn frame by frame: those
    that have an alignment, or if none has, as if all letters took equally long (the flat start of hidden Markov
    models). CTC from nothing says only blanks for long.
    """
    flat_start_s: float = 5.0
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.25
    """Share of all steps."""
    weight_decay: float = 1e-3
    dropout: float = 0.05
    clip_norm: float = 1.0
    inner: float = 0.3
    """Weight of a CTC loss in the middle of the encoder (Lee and Watanabe 2021)."""
    rnnt: float = 0.5
    """Weight of the RNNT loss against the CTC loss."""
    rnnt_utterances: int = 2
    """Of each step; the loss takes long on a CPU."""
    rnnt_after: int = 1500
    """Steps, before which the encoder says too little to the prediction network."""


class Disturbance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often (probabilities) and how much audio and features are changed."""

    speed: float = 0.5
    max_speed: float = 1.12
    room: float = 0.4
    noise: float = 0.6
    min_snr_db: float = 5.0
    max_snr_db: float = 35.0
    colour: float = 0.6
    """A smooth random frequency response."""
    telephone: float = 0.15
    """300 to 3400 Hz in 8-bit mu-law."""
    join: float = 0.25
    """Another utterance follows in the same one."""
    splice: float = 0.0
    """Share of the utterances with word times whose phrases are put together anew."""
    max_joined_s: float = 16.0
    """No utterance is longer; those that are longer on their own are left out."""
    silence: float = 0.02
    """Nothing is said, and there is noise."""
    warp: float = 0.6
    max_warp: float = 0.12
    """Stretch of the mel axis (vocal tract length, Jaitly and Hinton 2013)."""
    frequency_masks: int = 2
    frequency_mask_bins: int = 18
    time_masks_per_s: float = 0.4
    time_mask_frames: int = 25


UNDISTURBED = Disturbance(
    speed=0,
    room=0,
    noise=0,
    colour=0,
    telephone=0,
    join=0,
    splice=0,
    silence=0,
    warp=0,
    frequency_masks=0,
    time_masks_per_s=0,
)


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run."""

    vocabulary: int
    encoder: EncoderConfig
    rnnt: RnntConfig | None = None
    frontend: FrontendConfig = FrontendConfig()
    lookahead_odds: tuple[float, ...] = ()
    """How often each of the encoder's look-aheads is drawn for a step; equally often if empty."""
    optimisation: Optimisation = Optimisation()
    disturbance: Disturbance = Disturbance()

    def __post_init__(self) -> None:
        if self.lookahead_odds and len(self.lookahead_odds) != len(self.encoder.lookaheads):
            raise ValueError("lookahead_odds needs one number for each of the encoder's lookaheads")


def read_recipe(file: Path) -> Recipe:
    """Raises msgspec.ValidationError, which names the field."""
    return msgspec.toml.decode(file.read_bytes(), type=Recipe)
