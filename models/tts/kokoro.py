"""Kokoro as a stream: text comes in pieces, audio leaves clause by clause."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec

from models.audio import BYTES_PER_SAMPLE
from models.base import Message, Output, Pending, StreamError, StreamModel
from models.tts.clauses import ClauseSplitter
from models.tts.clip import Clip, clip
from models.tts.network import SAMPLE_RATE_HZ, KokoroNetwork
from models.tts.phonemes import Pronouncer, Utterance
from models.tts.voices import DEFAULT_VOICE, UnknownVoice, Voice, resolve

MIN_SPEED = 0.25
MAX_SPEED = 4.0
WINDOW_BYTES = 1 << 16
MAX_SILENT_CHARS = 4096
"""Text that is not said waits for text that is; so much of it leaves on its own."""


class Speaking(NamedTuple):
    """The bucket of a slot's next step. Each `pace` makes it another, so that the new slack counts."""

    paces: int

    def __str__(self) -> str:
        return "clause"


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    voice: str
    speed: float
    silent: str
    clauses: list[str]
    unread: str
    cut: int
    flushed: bool
    pts: int
    consumed: int
    slack_s: float
    lead_s: float


@dataclass
class _Slot:
    voice: Voice = field(default_factory=lambda: resolve(DEFAULT_VOICE))
    speed: float = 1.0
    silent: str = ""
    """Text that carries no speech and leaves with the next that does."""
    clauses: deque[str] = field(default_factory=deque)
    splitter: ClauseSplitter = field(default_factory=ClauseSplitter)
    flushed: bool = False
    pts: int = 0
    consumed: int = 0
    slack_s: float = 0.0
    """How long text may wait."""
    lead_s: float = 0.0
    """How long the listener can do without new audio."""
    paces: int = 0

    def drop_all(self) -> None:
        """Forget what is not said yet."""
        self.drop(self.silent + "".join(self.clauses) + self.splitter.text)
        self.splitter, self.flushed = ClauseSplitter(), False

    def drop(self, text: str) -> None:
        """`text`, with which what is not said yet begins, has left."""
        self.consumed += len(text.encode())
        left = len(text)
        left, self.silent = left - len(self.silent), self.silent[left:]
        while left > 0 and self.clauses:
            clause = self.clauses.popleft()
            if len(clause) > left:
                self.clauses.appendleft(clause[left:])
            left -= len(clause)
        if left > 0:
            self.splitter = ClauseSplitter(self.splitter.text[left:], self.splitter.emitted + 1)


class Kokoro(StreamModel):
    """Takes `text` (UTF-8) and `pace` (slack: how long the next audio may wait from now). Options: `voice`, `speed`.

    Puts out `audio` for each clause (pts in samples at 24 kHz since `open`, data = 16-bit little-endian mono, meta
    {"text": the slice of input that it says, "words": [[text start, text end, first sample, end sample], ...]}) and,
    after `flush` when all is said, `done` (pts = samples in all, meta {"text": what is left and carries no speech}).
    The texts concatenate to the input.
    """

    name: ClassVar[str] = "tts"
    accepts: ClassVar[frozenset[str]] = frozenset({"text", "pace"})
    max_batch = 1
    window = WINDOW_BYTES

    def __init__(self, directory: Path, voices: Path, capacity: int, threads: int = 1) -> None:
        """`directory` holds the network and the lexicons, `voices` is the file of voices."""
        self.capacity = capacity
        self._network = KokoroNetwork(directory, voices, threads)
        self._pronouncer = Pronouncer(directory)
        self._warm_up()
        self._slots = [_Slot() for _ in range(capacity)]

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._slots[slot] = _Slot(self._voice(options.get("voice", DEFAULT_VOICE)), _speed(options.get("speed", 1.0)))

    def push(self, slot: int, message: Message) -> None:
        state = self._slots[slot]
        if message.kind == "pace":
            state.lead_s = message.slack_s
            state.paces += 1
            return
        if state.flushed:
            raise StreamError("text after flush, before all was said", param="data")
        try:
            text = message.data.decode()
        except UnicodeDecodeError as error:
            raise StreamError(f"text must be UTF-8: {error}", param="data") from error
        state.slack_s = message.slack_s
        state.clauses += state.splitter.push(text)

    def flush(self, slot: int) -> None:
        state = self._slots[slot]
        state.clauses += state.splitter.flush()
        state.flushed = True

    def cancel(self, slot: int, turn: int) -> None:
        """All text so far is of older turns, since messages come in order."""
        self._slots[slot].drop_all()

    def pending(self) -> Iterable[Pending]:
        for slot, state in enumerate(self._slots):
            if state.clauses or state.flushed:
                yield Pending(slot, Speaking(state.paces), max(state.slack_s, state.lead_s))

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        return [output for slot in slots for output in self._advance(slot)]

    def consumed(self, slot: int) -> int:
        return self._slots[slot].consumed

    def snapshot(self, slot: int) -> bytes:
        state = self._slots[slot]
        return msgspec.msgpack.encode(
            _Snapshot(
                state.voice.name,
                state.speed,
                state.silent,
                list(state.clauses),
                state.splitter.text,
                state.splitter.emitted,
                state.flushed,
                state.pts,
                state.consumed,
                state.slack_s,
                state.lead_s,
            )
        )

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._slots[slot] = _Slot(
            resolve(saved.voice),
            saved.speed,
            saved.silent,
            deque(saved.clauses),
            ClauseSplitter(saved.unread, saved.cut),
            saved.flushed,
            saved.pts,
            saved.consumed,
            saved.slack_s,
            saved.lead_s,
        )

    def resume(self, slot: int, snapshot: bytes, inputs: Iterable[Message], delivered: Sequence[Output]) -> None:
        """Go on behind the audio that was delivered since the snapshot."""
        super().resume(slot, snapshot, inputs, delivered)
        state = self._slots[slot]
        for output in delivered:
            state.drop(output.meta["text"])
            state.pts = output.pts + len(output.data) // BYTES_PER_SAMPLE

    def close(self, slot: int) -> None:
        self._slots[slot] = _Slot()

    def _warm_up(self) -> None:
        """The first run is slow."""
        utterance = self._pronouncer.utter("Ready.", "en-US", final=True)
        assert utterance is not None
        self._network.speak(utterance.ids, next(iter(self._network.voices)), 1.0)

    def _voice(self, name: Any) -> Voice:
        try:
            voice = resolve(str(name))
        except UnknownVoice as error:
            raise StreamError(str(error), code="invalid_value", param="voice") from error
        if voice.name not in self._network.voices:
            raise StreamError(f"the checkpoint has no voice {voice.name!r}", code="invalid_value", param="voice")
        return voice

    def _advance(self, slot: int) -> list[Output]:
        """Say the next clause that has something to say; when all is said, say so."""
        state = self._slots[slot]
        outputs: list[Output] = []
        while state.clauses and not outputs:
            utterance = self._pronouncer.utter(state.clauses[0], state.voice.language, _falls(state))
            if utterance:
                outputs.append(self._say(slot, utterance))
            else:
                state.silent += state.clauses.popleft()
            if len(state.silent) >= MAX_SILENT_CHARS:
                outputs.append(self._put_out(slot, state.silent, Clip(b"", [])))
        if state.flushed and not state.clauses:
            outputs.append(Output(slot, "done", state.pts, meta={"text": state.silent}))
            state.drop_all()
        return outputs

    def _say(self, slot: int, utterance: Utterance) -> Output:
        state = self._slots[slot]
        speech = self._network.speak(utterance.ids, state.voice.name, state.speed)
        return self._put_out(
            slot, state.silent + state.clauses[0][: utterance.end], clip(utterance, speech, state.speed)
        )

    def _put_out(self, slot: int, text: str, made: Clip) -> Output:
        state = self._slots[slot]
        before = len(state.silent)
        words = [[before + start, before + end, first, last] for start, end, first, last in made.words]
        output = Output(slot, "audio", state.pts, made.pcm, {"text": text, "words": words})
        state.drop(text)
        state.pts += made.samples
        state.lead_s = max(state.lead_s, made.samples / SAMPLE_RATE_HZ)
        return output


def _falls(state: _Slot) -> bool:
    """Whether the first clause is the end of a paragraph or of all text."""
    following = state.clauses[1] if len(state.clauses) > 1 else state.splitter.text
    return following.lstrip(" ").startswith("\n") or (state.flushed and not following.strip())


def _speed(speed: Any) -> float:
    if not isinstance(speed, int | float) or isinstance(speed, bool) or not MIN_SPEED <= speed <= MAX_SPEED:
        raise StreamError(
            f"speed must be a number from {MIN_SPEED} to {MAX_SPEED}, got {speed!r}",
            code="invalid_value",
            param="speed",
        )
    return float(speed)
