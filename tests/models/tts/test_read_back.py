"""What is spoken is what was written: a recogniser hears it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from models.asr.whisper.model import Whisper
from models.base import Output
from models.tts.kokoro import Kokoro
from tests.models.asr.whisper.listening import final, plain
from tests.models.tts.speaking import pcm, say


@pytest.fixture(scope="module")
def whisper(checkpoint: Callable[[str], Path]) -> Whisper:
    return Whisper(checkpoint("whisper-base"), capacity=1, window_s=16.0)


def hear(whisper: Whisper, spoken: list[Output]) -> Output:
    audio = np.frombuffer(pcm(spoken), "<i2")
    return final(whisper, 0, soxr.resample(audio, 24_000, 16_000).tobytes(), words=True)


@pytest.mark.parametrize(
    ("text", "voice", "heard"),
    [
        ("Dr. Who said, pi is about 3.14.", "af_heart", "dr who said pi is about 314"),
        ("My train to London leaves at 10:30.", "bm_george", "my train to london leaves at 1030"),
        (
            "The **U.S.** spent $2.5 million, e.g. on ships!",
            "am_michael",
            "the us spent 25 million for example on ships",
        ),
    ],
)
def test_is_heard(kokoro: Kokoro, whisper: Whisper, text: str, voice: str, heard: str) -> None:
    text = plain(hear(whisper, say(kokoro, text, voice=voice)).meta["text"])
    assert text.replace("doctor", "dr").split() == heard.split()


def test_words_are_heard_when_it_says(kokoro: Kokoro, whisper: Whisper) -> None:
    """The recogniser's own times are good to a tenth of a second or two."""
    spoken = say(kokoro, "The quick brown fox jumps over the lazy dog while it sleeps.")
    said = [
        ((start + end) / 2 + output.pts, output.meta["text"][first:last])
        for output in spoken[:-1]
        for first, last, start, end in output.meta["words"]
    ]
    heard = [
        ((start + end) / 2 * 1.5, plain(word).strip()) for word, start, end, _ in hear(whisper, spoken).meta["words"]
    ]
    assert [word for _, word in heard] == [plain(word) for _, word in said]
    assert max(abs(here - there) for (here, _), (there, _) in zip(heard, said, strict=True)) < 0.3 * 24_000
