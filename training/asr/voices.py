"""Who speaks: the voices of each synthesiser, those held out, and Kokoro's voices mixed to new ones."""

import hashlib
import random
import subprocess
import tarfile
import tempfile
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from models.audio import FloatArray
from models.tts.network import KokoroNetwork

KOKORO_HELD_OUT = ("af_sarah", "am_fenrir", "bf_isabella", "bm_george")
FLITE_HELD_OUT = "rms"
_ARCHIVE = "kokoro-js@1.2.1"
_ARCHIVE_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
_ENGLISH = "ab"
"""First letters of voices whose language is English, American or British."""


class Voice(msgspec.Struct, frozen=True):
    """`name` as the engine knows it. `stretch` multiplies its durations, `shift` the frequencies of its audio."""

    engine: str
    name: str
    stretch: float = 1.0
    shift: float = 1.0

    @property
    def label(self) -> str:
        return f"{self.name}@{self.stretch}x{self.shift}"


def kokoro_voices(directory: Path) -> Path:
    """A safetensors file in `directory` with the 54 voices of npm's kokoro-js, float16 `[510, 256]` each.

    The package is downloaded and checked, never installed. Raises ValueError if it is another.
    """
    file = directory / "kokoro-voices.safetensors"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["npm", "pack", "--silent", _ARCHIVE], cwd=scratch, check=True, capture_output=True)
            (archive,) = Path(scratch).glob("*.tgz")
            if hashlib.sha256(archive.read_bytes()).hexdigest() != _ARCHIVE_SHA256:
                raise ValueError(f"{_ARCHIVE} is not the archive that this recipe knows")
            partial = file.with_suffix(".part")
            save_file(_styles(archive), partial)
            partial.replace(file)
    return file


class MixingNetwork(KokoroNetwork):
    """Kokoro with voices such as "af_bella*0.3+am_adam*0.7", convex mixtures of styles."""

    def style(self, voice: str, symbols: int) -> FloatArray:
        parts = (part.partition("*") for part in voice.split("+"))
        mixed: FloatArray = sum(
            (np.float32(float(share or 1)) * KokoroNetwork.style(self, name, symbols) for name, _, share in parts),
            np.zeros((1, 1), np.float32),
        )
        return mixed


def kokoro_language(voice: str) -> str:
    """The English that a voice or a mixture pronounces: that of its largest part."""
    largest = max(voice.split("+"), key=lambda part: float(part.partition("*")[2] or 1))
    return "en-GB" if largest.startswith("b") else "en-US"


def draw_kokoro(names: list[str], heldout: bool, dice: random.Random) -> Voice:
    """A held-out voice, or else one of the others or a mixture of two of them, one at least a native speaker's."""
    if heldout:
        return Voice("kokoro", dice.choice(KOKORO_HELD_OUT), stretch=_speed(dice, 0.9, 1.15))
    known = sorted(set(names) - set(KOKORO_HELD_OUT))
    native = [name for name in known if name[0] in _ENGLISH]
    kind = dice.random()
    if kind < 0.35:
        name = dice.choice(native)
    elif kind < 0.45:
        name = dice.choice([name for name in known if name[0] not in _ENGLISH])
    else:
        share = round(dice.uniform(0.3, 0.7), 2)
        name = f"{dice.choice(native)}*{share}+{dice.choice(known if kind < 0.7 else native)}*{round(1 - share, 2)}"
    return Voice("kokoro", name, stretch=_speed(dice, 0.75, 1.35))


FLITE = {"awb": 4, "slt": 4, "kal16": 1}
"""Voices and how often each is drawn."""
FESTIVAL = {"cmu_us_slt_arctic_hts": 5, "kal_diphone": 2, "ked_diphone": 3}
_ESPEAK_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-us-nyc", "en-029")
_ESPEAK_VARIANTS = (
    "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alicia", "Andrea", "Annie", "Andy",
    "Alex", "Gene", "Lee", "Michael", "Mike", "Nguyen", "adam", "anika", "antonio", "belinda", "benjamin", "david",
    "ed", "edward2", "grandpa", "john", "linda", "max", "michel", "pablo", "paul", "quincy", "rob", "robert", "sandro",
    "shelby", "steph", "travis", "victor", "zac",
)  # fmt: skip
ESPEAK = [f"{accent}+{variant}" for accent in _ESPEAK_ACCENTS for variant in _ESPEAK_VARIANTS]


def draw_cheap(engine: str, heldout: bool, dice: random.Random) -> Voice:
    """A voice of `flite`, `festival`, `espeak` or `piper`; it may be shifted, so that few voices sound like many.

    Only `flite` has a held-out voice. Festival's voice of hidden Markov models takes no stretch.
    """
    if heldout:
        if engine != "flite":
            raise ValueError(f"no voice of {engine!r} is held out")
        return Voice(engine, FLITE_HELD_OUT)
    stretch, shift = _speed(dice, 0.8, 1.3), round(dice.triangular(0.87, 1.17, 1.0), 2)
    match engine:
        case "flite":
            return Voice(engine, _weighted(FLITE, dice), stretch, shift)
        case "festival":
            return Voice(engine, _weighted(FESTIVAL, dice), stretch, shift)
        case "espeak":
            return Voice(engine, dice.choice(ESPEAK), stretch, shift)
        case "piper":
            return Voice(engine, "joe", stretch, shift)
    raise ValueError(f"no engine is called {engine!r}")


def _weighted(weights: dict[str, int], dice: random.Random) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]


def _speed(dice: random.Random, least: float, most: float) -> float:
    return round(dice.triangular(least, most, 1.0), 2)


def _styles(archive: Path) -> dict[str, np.ndarray]:
    """`voices/*.bin`: float32 `[510, 1, 256]`."""
    styles = {}
    with tarfile.open(archive) as package:
        for member in package:
            path = Path(member.name)
            content = package.extractfile(member)
            if path.parent.name == "voices" and path.suffix == ".bin" and content:
                styles[path.stem] = np.frombuffer(content.read(), "<f4").reshape(510, 256).astype(np.float16)
    return styles
