"""Text in, speech out: one utterance, spoken clause by clause while its text still arrives."""

import msgspec

from pipelines.effects import OpenStream, Push, StreamOutput
from pipelines.items import Mark

SERVICE = "speak"
SAMPLE_RATE_HZ = 24_000
SAMPLE_BYTES = 2
TEXT_PIECE_CHARS = 4_096
MAX_FAILURES = 3
"""Streams lost in a row, without speech between them, after which the utterance fails."""


class Spoken(msgspec.Struct, frozen=True):
    """Speech of the next piece of the text: 24 kHz mono int16, and where its words end, from the utterance's start."""

    text: str
    pcm: bytes
    marks: list[Mark]


class Finished(msgspec.Struct, frozen=True):
    """All is said; `text`, the rest, has no speech."""

    text: str


class Failed(msgspec.Struct, frozen=True):
    """The utterance cannot be spoken."""

    code: str
    message: str
    param: str | None = None


Effect = OpenStream | Push | Spoken | Finished | Failed


class SpeakState(msgspec.Struct):
    """All that the pipeline remembers."""

    voice: str
    speed: float
    slack_s: float
    text: str = ""
    """All text so far."""
    complete: bool = False
    spoken: int = 0
    """Characters of the text whose speech has come."""
    samples: int = 0
    playing_until: float = 0.0
    """When the listener will have heard what was spoken, if it plays at once."""
    failures: int = 0


class Speak:
    """The pipeline. Each method returns effects to carry out in order; `now` is in seconds."""

    def __init__(self, state: SpeakState) -> None:
        self.state = state

    def start(self) -> list[Effect]:
        """Reserve the stream; again if a worker is lost: what was not spoken yet is said by another."""
        state = self.state
        effects: list[Effect] = [OpenStream(SERVICE, {"voice": state.voice, "speed": state.speed})]
        effects += self._push(state.text[state.spoken :])
        return [*effects, Push("flush")] if state.complete else effects

    def text(self, text: str) -> list[Effect]:
        """Say more."""
        self.state.text += text
        return self._push(text)

    def finish(self) -> list[Effect]:
        """No more text comes."""
        self.state.complete = True
        return [Push("flush")]

    def on_output(self, output: StreamOutput, now: float) -> list[Effect]:
        """Take what the stream produced."""
        match output.kind:
            case "audio":
                return self._audio(output, now)
            case "done":
                return [Finished(output.meta["text"])]
            case "lost" if self.state.failures < MAX_FAILURES:
                self.state.failures += 1
                return self.start()
            case "error" | "lost" | "refused":
                return [Failed(output.meta["code"], output.meta["message"], output.meta.get("param"))]
            case kind:
                raise ValueError(f"a speak stream has no output {kind!r}")

    def _audio(self, output: StreamOutput, now: float) -> list[Effect]:
        state, text = self.state, output.meta["text"]
        marks = [
            Mark(state.spoken + text_end, state.samples + end) for _, text_end, _, end in output.meta.get("words", [])
        ]
        state.spoken += len(text)
        state.samples += len(output.data) // SAMPLE_BYTES
        state.failures = 0
        duration_s = len(output.data) / SAMPLE_BYTES / SAMPLE_RATE_HZ
        state.playing_until = max(state.playing_until, now) + duration_s
        return [Spoken(text, output.data, marks), Push("pace", slack_s=max(0.0, state.playing_until - now))]

    def _push(self, text: str) -> list[Effect]:
        pieces = (text[start : start + TEXT_PIECE_CHARS] for start in range(0, len(text), TEXT_PIECE_CHARS))
        return [Push("text", data=piece.encode(), slack_s=self.state.slack_s) for piece in pieces]
