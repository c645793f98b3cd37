"""When does the speaker start, pause and stop? Decided on media time from per-frame speech probabilities."""

from typing import Literal

import msgspec

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
ONSET_FRAMES = 2
"""Speech frames in a row that make an onset: one alone may be a click."""
HYSTERESIS = 0.15
"""Speech that has started goes on until the probability falls this far below the threshold."""
LEAST_SPEECH = 0.01
"""Below this it is silence, however low the threshold; else turns of a low threshold would never end."""
PAUSE_SAMPLES = 3_200
"""Silence after which the turn may be over: a good moment to transcribe ahead and to ask whether it is."""
ASK_AGAIN_SAMPLES = 4_800
WORDLESS_SAMPLES = 3 * SAMPLE_RATE_HZ
"""Sound in which the recogniser hears no word for so much longer than the silence that ends a turn is noise."""
NOISE_SAMPLES = 2 * SAMPLE_RATE_HZ
"""So long does noise that ended a turn not begin another, unless it fell below the threshold."""

Eagerness = Literal["low", "medium", "high", "auto"]

_LONGEST_SILENCE_S = {"low": 8, "medium": 4, "high": 2, "auto": 4}
_FINISHED_PROBABILITY = {"low": 0.8, "medium": 0.5, "high": 0.3, "auto": 0.5}


class ServerVad(msgspec.Struct, frozen=True, tag_field="type", tag="server_vad"):
    """The turn ends after a fixed silence."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


class SemanticVad(msgspec.Struct, frozen=True, tag_field="type", tag="semantic_vad"):
    """The turn ends when a model finds it complete, or after the longest silence that `eagerness` allows."""

    eagerness: Eagerness = "auto"
    threshold: float = 0.5
    prefix_padding_ms: int = 300


Detection = ServerVad | SemanticVad


class Started(msgspec.Struct, frozen=True):
    """Speech began at `pts` (padding not included)."""

    pts: int


class Paused(msgspec.Struct, frozen=True):
    """Silence has lasted `PAUSE_SAMPLES`, up to `pts`."""

    pts: int


class Resumed(msgspec.Struct, frozen=True):
    """Speech goes on after a pause."""


class Asked(msgspec.Struct, frozen=True):
    """Wanted: the probability that the turn is complete at `pts`; give it to `judged`."""

    pts: int


class Stopped(msgspec.Struct, frozen=True):
    """The turn is over; its audio, silence included, ends at `pts`."""

    pts: int


TurnEvent = Started | Paused | Resumed | Asked | Stopped


class TurnState(msgspec.Struct):
    """All that a detector remembers, positions in samples."""

    speaking: bool = False
    onset: int | None = None
    silence: int | None = None
    """Where the current silence within a turn began."""
    paused: bool = False
    next_ask: int = 0
    asked: int | None = None
    """Position of the question that waits for its answer; a new one would only make that answer stale."""
    noise_until: int = 0
    """What resembles speech up to here is the noise that was known before."""


class TurnDetector:
    """Turns frames into turn events. `state` may be serialised and handed to another detector."""

    def __init__(self, detection: Detection, state: TurnState | None = None) -> None:
        self.detection = detection
        self.state = state or TurnState()

    @property
    def lasting(self) -> float:
        """Probability down to which speech that has started goes on."""
        return max(self.detection.threshold - HYSTERESIS, LEAST_SPEECH)

    def frame(self, end: int, probability: float) -> list[TurnEvent]:
        """Take the speech probability of the frame that ends at `end` samples."""
        if not self.state.speaking:
            return self._idle(end, probability)
        if probability >= self.lasting:
            return self._speech()
        return self._silence(end)

    def judged(self, pts: int, probability: float, now: int) -> list[TurnEvent]:
        """Take the answer to `Asked(pts)`, with the position `now` that frames have reached."""
        if self.state.asked != pts:
            return []
        self.state.asked = None
        if not isinstance(self.detection, SemanticVad):
            return []
        if probability < _FINISHED_PROBABILITY[self.detection.eagerness]:
            return []
        return self._stop(now)

    def wordless(self, run: int, now: int) -> list[TurnEvent]:
        """Take how long the recogniser has heard no word, in samples, with the position `now` of the frames."""
        if not self.state.speaking or run < self._longest_silence() + WORDLESS_SAMPLES:
            return []
        events = self._stop(now)
        self.state.noise_until = now + NOISE_SAMPLES
        return events

    def _idle(self, end: int, probability: float) -> list[TurnEvent]:
        state = self.state
        if probability < self.detection.threshold:
            state.onset, state.noise_until = None, 0
            return []
        if end <= state.noise_until:
            return []
        if state.onset is None:
            state.onset = end - FRAME_SAMPLES
        if end - state.onset < ONSET_FRAMES * FRAME_SAMPLES:
            return []
        self.state = TurnState(speaking=True)
        return [Started(state.onset)]

    def _speech(self) -> list[TurnEvent]:
        paused = self.state.paused
        self.state = TurnState(speaking=True)
        return [Resumed()] if paused else []

    def _silence(self, end: int) -> list[TurnEvent]:
        state = self.state
        if state.silence is None:
            state.silence = end - FRAME_SAMPLES
        if end - state.silence >= self._longest_silence():
            return self._stop(end)
        events: list[TurnEvent] = []
        if not state.paused and end - state.silence >= PAUSE_SAMPLES:
            state.paused = True
            state.next_ask = end
            events.append(Paused(end))
        may_ask = state.asked is None and end >= state.next_ask
        if state.paused and may_ask and isinstance(self.detection, SemanticVad):
            state.asked = end
            state.next_ask = end + ASK_AGAIN_SAMPLES
            events.append(Asked(end))
        return events

    def _longest_silence(self) -> int:
        if isinstance(self.detection, SemanticVad):
            return _LONGEST_SILENCE_S[self.detection.eagerness] * SAMPLE_RATE_HZ
        return self.detection.silence_duration_ms * SAMPLE_RATE_HZ // 1_000

    def _stop(self, end: int) -> list[TurnEvent]:
        self.state = TurnState()
        return [Stopped(end)]
