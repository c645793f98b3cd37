"""A scripted `speak` stream: every word takes as long as the next, and every clause as long to make."""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.tts.voices import UnknownVoice, resolve
from pipelines.effects import Push, StreamOutput
from tests.pipelines.listen import Refused

RATE_HZ = 24_000
MAX_PUSH_BYTES = 1 << 16
CLAUSE = re.compile(r".*?[.,!?;:]+(?=\s)\s*", re.DOTALL)


@dataclass(frozen=True)
class Voice:
    """How the model behaves."""

    word_s: float = 0.25
    clause_s: float = 0.1
    """How long a clause takes to make."""


def tone(samples: int, start: int = 0) -> bytes:
    """440 Hz, int16, that goes on where the samples before `start` end."""
    times = (start + np.arange(samples)) / RATE_HZ
    return (8_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


@dataclass
class Speak:
    """One stream of the service. Raises Refused where a real one would end with an error."""

    voice: Voice
    options: Mapping[str, Any]
    text: str = ""
    paces: list[float] = field(default_factory=list)
    flushed: bool = False
    over: bool = False
    _unread: str = ""
    _silent: str = ""
    _pts: int = 0
    _busy_until: float = 0.0
    _due: deque[tuple[float, StreamOutput]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.options.keys() != {"voice", "speed"} or not 0.25 <= self.options["speed"] <= 4:
            raise Refused(f"options {self.options}")
        try:
            resolve(self.options["voice"])
        except UnknownVoice as error:
            raise Refused(str(error)) from error

    def push(self, push: Push, now: float) -> None:
        match push.kind:
            case "text":
                if self.flushed or not push.data or len(push.data) > MAX_PUSH_BYTES:
                    raise Refused(f"text of {len(push.data)} bytes, flushed: {self.flushed}")
                self.text += push.data.decode()
                self._unread += push.data.decode()
                self._say(now)
            case "flush":
                if self.flushed:
                    raise Refused("a second flush")
                self.flushed = True
                self._say(now)
            case "pace":
                if self.over:
                    raise Refused("pace after done")
                self.paces.append(push.slack_s)
            case kind:
                raise Refused(f"unknown message {kind!r}")

    def pull(self, now: float) -> StreamOutput | None:
        """The next output that is due by now."""
        if not self._due or self._due[0][0] > now:
            return None
        output = self._due.popleft()[1]
        self.over = output.kind == "done"
        return output

    def _say(self, now: float) -> None:
        while match := CLAUSE.match(self._unread):
            self._unread = self._unread[match.end() :]
            self._clause(match[0], now)
        if self.flushed:
            self._clause(self._unread, now)
            self._due.append((max(now, self._busy_until), StreamOutput("done", self._pts, meta={"text": self._silent})))

    def _clause(self, clause: str, now: float) -> None:
        if not re.search(r"\w", clause):
            self._silent += clause
            return
        text, self._silent = self._silent + clause, ""
        length = round(self.voice.word_s / self.options["speed"] * RATE_HZ)
        words = [
            [match.start(), match.end(), number * length, (number + 1) * length]
            for number, match in enumerate(re.finditer(r"\w\S*", text))
        ]
        pcm = tone(len(words) * length, self._pts)
        self._busy_until = max(now, self._busy_until) + self.voice.clause_s
        self._due.append((self._busy_until, StreamOutput("audio", self._pts, pcm, {"text": text, "words": words})))
        self._pts += len(words) * length
