"""Is someone interrupting, or is it a cough? Decided while the assistant speaks, under semantic turn detection."""

import re

import msgspec

from pipelines.transcribe_events import Event, SpeechStopped
from pipelines.turns import FRAME_SAMPLES, PAUSE_SAMPLES, SAMPLE_RATE_HZ

SPEECH_SAMPLES = 4 * SAMPLE_RATE_HZ // 10
"""So much speech interrupts, unless its words so far are only fillers."""
LONG_SPEECH_SAMPLES = 7 * SAMPLE_RATE_HZ // 10
"""So much speech interrupts in any case."""
WORDLESS_SAMPLES = SPEECH_SAMPLES + 3 * SAMPLE_RATE_HZ // 10
"""A recogniser that has heard so much, the padding before the speech included, would have heard a word."""
FILLER = re.compile(r"[mh]+|u+h*m*|a+h+|o+h+|e+[hr]+m*|uh+u+h+|h+u+h+|aha")


class Onset(msgspec.Struct):
    """Speech that may yet turn out to be none. Nobody is told of it before that is sure."""

    item: str
    events: list[Event]
    """What there will be to tell."""
    voiced: int = 0
    """Samples of speech since the last pause."""
    silent: int = 0
    text: str = ""
    wordless: int | None = None
    """Samples in which the recogniser heard no word up to now; None if it does not tell."""

    def frame(self, speech: bool) -> None:
        """Take one more frame of audio."""
        self.silent = 0 if speech else self.silent + FRAME_SAMPLES
        if self.silent >= PAUSE_SAMPLES:
            self.voiced = 0
        self.voiced += FRAME_SAMPLES if speech else 0

    @property
    def stopped(self) -> bool:
        """Whether it is over."""
        return any(isinstance(event, SpeechStopped) for event in self.events)

    @property
    def interrupts(self) -> bool:
        """Whether it is sure to be speech that is meant."""
        if has_words(self.text):
            return True
        if self.wordless is not None and not self.text:
            return self.voiced >= LONG_SPEECH_SAMPLES and self.wordless < WORDLESS_SAMPLES
        return self.voiced >= (LONG_SPEECH_SAMPLES if self.text else SPEECH_SAMPLES)


def has_words(text: str) -> bool:
    """Whether a text says more than "mm-hm"."""
    words = (re.sub(r"\W", "", word) for word in text.lower().split())
    return any(word and not FILLER.fullmatch(word) for word in words)
