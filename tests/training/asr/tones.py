"""A corpus that takes no synthesiser: each letter is a tone."""

import json
import wave
from pathlib import Path

import numpy as np

from models.asr.fastconformer.vocabulary import TokenizersVocabulary
from models.audio import SAMPLE_RATE_HZ, FloatArray
from training.asr.subwords import train_subwords

LETTERS = {"a": 400, "b": 900, "c": 1_800}
LETTER_S = 0.2
WORDS = ["ab", "ca", "bc", "cab", "abc", "bca"]


def tones(text: str) -> FloatArray:
    """`text` as audio at 16 kHz, a space as silence."""
    time_s = np.arange(round(LETTER_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pieces = [0.3 * np.sin(2 * np.pi * LETTERS.get(letter, 0) * time_s) for letter in text]
    return np.concatenate(pieces).astype(np.float32)


def write_wav(file: Path, audio: FloatArray, rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1) -> None:
    """16-bit PCM; every channel the same."""
    with wave.open(str(file), "wb") as wav:
        wav.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        wav.writeframes(np.repeat((audio * 32_767).astype("<i2"), channels).tobytes())


def write_corpus(directory: Path, utterances: int) -> Path:
    """A manifest of utterances of two words each."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(utterances):
        text = " ".join(rng.choice(WORDS, 2))
        audio = tones(text)
        write_wav(directory / f"{number}.wav", audio)
        line = {
            "audio_filepath": f"{number}.wav",
            "duration": len(audio) / SAMPLE_RATE_HZ,
            "text": text,
            "voice": "sine",
        }
        lines.append(json.dumps(line))
    manifest = directory / "train.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def vocabulary() -> TokenizersVocabulary:
    """Letters, and a space."""
    return TokenizersVocabulary(train_subwords(WORDS, 28))
