"""Synthesisers, all alike: a sentence and a voice in, 16 kHz audio out, with word times where they are known."""

import math
import re
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import soxr
import torch

from models.audio import SAMPLE_RATE_HZ, FloatArray
from models.catalog import ensure
from models.onnx import open_session
from models.tts import network
from models.tts.normalise import normalise
from models.tts.phonemes import MARKS, Pronouncer, Utterance
from training.asr.voices import MixingNetwork, Voice, kokoro_language, kokoro_voices

Alignment = list[tuple[str, float, float]]
"""Words with start and end in seconds."""

TIMEOUT_S = 120
CHECKPOINTS = Path(__file__).with_name("checkpoints.toml")


class Spoken(NamedTuple):
    """`audio`: float32 `[N]` at 16 kHz."""

    audio: FloatArray
    alignment: Alignment | None = None


class Engine(Protocol):
    """Says many sentences, each with its voice; None where it cannot."""

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]: ...


class Kokoro:
    """Kokoro with all its voices and mixtures of them."""

    def __init__(self, voices: Path) -> None:
        """`voices` is a safetensors file of styles."""
        directory = ensure("kokoro")
        self._network = MixingNetwork(directory, voices)
        self._pronouncer = Pronouncer(directory)

    @property
    def names(self) -> list[str]:
        return sorted(self._network.voices)

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        return [self._say(text, voice) for text, voice in sentences]

    def _say(self, text: str, voice: Voice) -> Spoken | None:
        utterance = self._pronouncer.utter(text, kokoro_language(voice.name), final=True)
        if utterance is None or utterance.end < len(text):
            return None
        speech = self._network.speak(utterance.ids, voice.name, 1 / voice.stretch)
        audio = _resampled(speech.audio, network.SAMPLE_RATE_HZ)
        return Spoken(audio, _kokoro_alignment(text, utterance, speech))


def _kokoro_alignment(text: str, utterance: Utterance, speech: network.Speech) -> Alignment | None:
    """Exact, from the duration of each symbol; None if the sounds cannot be told apart by word."""
    spans = {word.start: word for word in utterance.words}
    alignment: Alignment = []
    for piece in normalise(text):
        if piece.spoken in MARKS:
            continue
        if piece.start not in spans:
            return None
        word = spans[piece.start]
        names, first = piece.spoken.lower().split(), word.first
        sounds = utterance.symbols[word.first : word.last].split(" ")
        if len(sounds) != len(names):
            return None
        for name, sound in zip(names, sounds, strict=True):
            start, end = (int(speech.starts[at]) / network.SAMPLE_RATE_HZ for at in (first, first + len(sound)))
            alignment.append((name, round(start, 3), round(end, 3)))
            first += len(sound) + 1
    return alignment


class Flite:
    """CMU Flite (apt: flite)."""

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        return [self._say(text, voice) for text, voice in sentences]

    def _say(self, text: str, voice: Voice) -> Spoken | None:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            stretch = f"duration_stretch={voice.stretch * voice.shift:.3f}"
            _run(["flite", "-voice", voice.name, "--setf", stretch, "-t", plain(text), "-o", file.name])
            return _shifted(Path(file.name), voice)


class Espeak:
    """eSpeak NG's formant synthesis (apt: espeak-ng)."""

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        return [self._say(text, voice) for text, voice in sentences]

    def _say(self, text: str, voice: Voice) -> Spoken | None:
        words_per_minute = round(170 / voice.stretch / voice.shift)
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            _run(["espeak-ng", "-v", voice.name, "-s", str(words_per_minute), "-w", file.name, "--", plain(text)])
            return _shifted(Path(file.name), voice)


class Festival:
    """Festival (apt: festival, festvox-us-slt-hts, festvox-kallpc16k, festvox-kdlpc16k): one process for all."""

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch, f"{number}.wav") for number in range(len(sentences))]
            commands = [
                f"(voice_{voice.name}) (Parameter.set 'Duration_Stretch {voice.stretch * voice.shift:.3f})\n"
                f'(utt.save.wave (utt.synth (Utterance Text "{plain(text)}")) "{file}" \'riff)'
                for (text, voice), file in zip(sentences, files, strict=True)
            ]
            script = Path(scratch, "script.scm")
            script.write_text("\n".join(commands))
            _run(["festival", "-b", str(script)])
            return [_shifted(file, voice) for file, (_, voice) in zip(files, sentences, strict=True)]


class Piper:
    """The voice joe of Piper, a VITS (arXiv 2106.06103), with eSpeak NG's phonemes (apt: espeak-ng)."""

    _MODEL = "en_US-joe-medium.onnx"

    def __init__(self) -> None:
        directory = ensure("piper-joe", extra=CHECKPOINTS)
        config = msgspec.json.decode((directory / f"{self._MODEL}.json").read_bytes())
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._rate_hz: int = config["audio"]["sample_rate"]
        self._session = open_session(directory / self._MODEL)

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        return [self._say(text, voice) for text, voice in sentences]

    def _say(self, text: str, voice: Voice) -> Spoken | None:
        pad = self._ids["_"]
        symbols = [id_ for symbol in self._phonemes(plain(text)) for id_ in [*self._ids.get(symbol, []), *pad]]
        ids = np.array([[*self._ids["^"], *pad, *symbols, *self._ids["$"]]], np.int64)
        scales = np.array([0.667, voice.stretch * voice.shift, 0.8], np.float32)
        inputs = {"input": ids, "input_lengths": np.array([ids.shape[1]], np.int64), "scales": scales}
        audio = self._session.run(None, inputs)[0].reshape(-1)
        return Spoken(_resampled(audio, self._rate_hz * voice.shift))

    @staticmethod
    def _phonemes(text: str) -> str:
        """eSpeak NG writes a clause a line and drops the marks between, which Piper wants."""
        spoken = subprocess.run(
            ["espeak-ng", "-q", "--ipa", "-v", "en-us", "--", text],
            capture_output=True, text=True, check=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        clauses = [line.strip() for line in spoken.stdout.splitlines() if line.strip()]
        marks = re.findall(r"[,.?!;:]", text)
        if len(marks) != len(clauses):
            marks = [","] * (len(clauses) - 1) + [marks[-1] if marks else "."]
        return " ".join(map("".join, zip(clauses, marks, strict=True)))


def engine(name: str, data: Path) -> Engine:
    """The synthesiser of that name; files that it needs are kept in `data`."""
    torch.set_num_threads(1)
    match name:
        case "kokoro":
            return Kokoro(kokoro_voices(data))
        case "flite":
            return Flite()
        case "festival":
            return Festival()
        case "espeak":
            return Espeak()
        case "piper":
            return Piper()
    raise ValueError(f"no engine is called {name!r}")


def plain(text: str) -> str:
    """`text` with all numbers and abbreviations written out, so that every synthesiser says the same words."""
    said = ""
    for piece in normalise(text):
        if piece.spoken not in MARKS:
            said += f" {piece.spoken}"
        elif said and said[-1].isalpha() and piece.spoken not in "()":
            said += piece.spoken.translate({ord("—"): ",", ord("…"): "."})
    return said.strip() + ("" if said and said[-1] in ".?!" else ".")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)


def _shifted(file: Path, voice: Voice) -> Spoken | None:
    """A recording played `shift` times as fast."""
    if not file.exists() or not file.stat().st_size:
        return None
    with wave.open(str(file)) as recording:
        samples = np.frombuffer(recording.readframes(-1), "<i2").astype(np.float32)
        return Spoken(_resampled(samples / np.float32(32_768), recording.getframerate() * voice.shift))


def _resampled(audio: FloatArray, rate_hz: float) -> FloatArray:
    resampled: FloatArray = soxr.resample(audio, rate_hz, SAMPLE_RATE_HZ)
    return resampled


def is_sane(spoken: Spoken, words: int) -> bool:
    """Whether the audio is as long as so many words may take, and is not silence."""
    seconds = len(spoken.audio) / SAMPLE_RATE_HZ
    rms = math.sqrt(float(np.square(spoken.audio).mean())) if len(spoken.audio) else 0.0
    return 0.08 * words + 0.1 < seconds < 1.2 * words + 2.5 and rms > 0.003
