"""Whisper as a stream: agreed words while someone speaks, an accurate text when they have."""

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from models.asr.recogniser import Recogniser
from models.asr.whisper.decoding import Draft, Passage, Transcript, draft, transcribe
from models.asr.whisper.network import HEARD_SAMPLES, WhisperNetwork
from models.asr.whisper.segments import Listener, Request, Segment
from models.audio import SAMPLE_RATE_HZ, FloatArray, HeldAudio
from models.base import Message, Output, Pending, StreamError

PARTIAL = "partial"
FINAL = "final"
FIRST_PARTIAL_SAMPLES = SAMPLE_RATE_HZ // 2
PARTIAL_INTERVAL_SAMPLES = SAMPLE_RATE_HZ // 2
EAGER_INTERVAL_SAMPLES = SAMPLE_RATE_HZ // 4
"""New audio between partial hypotheses until the first words are agreed on; the interval is longer afterwards."""


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    audio: HeldAudio
    listener: Listener


class Whisper(Recogniser[Listener]):
    """Puts out `partial` when the agreed text of the followed segment grew and `final` per `transcribe`.

    A partial's pts is the end of the audio heard, its meta {"segment", "text"}, each text beginning with the one
    before. A final's pts is its end, its meta {"segment", "text", "language", "words": [[text, start, end,
    probability], ...] in samples, "tokens": [[text, logprob], ...], "no_speech", "avg_logprob"}. Finals of a stream
    come in the order asked for; one that ends beyond the audio received waits for it.
    """

    name: ClassVar[str] = "whisper"

    def __init__(
        self,
        directory: Path,
        capacity: int,
        window_s: float = 30.0,
        threads: int = 1,
        max_batch: int = 1,
        partials: bool = True,
        finals: bool = True,
        not_followed: frozenset[str | None] = frozenset(),
    ) -> None:
        """`directory` holds the checkpoint; each slot can hold `window_s` seconds of unreleased audio.

        Without `partials` or `finals` the other model of a pair does that work; it also makes the partials of the
        languages `not_followed`, where None stands for one that was not given.
        """
        super().__init__(capacity, window_s, Listener)
        self.max_batch = max_batch
        self._partials = partials
        self._finals = finals
        self._not_followed = not_followed
        self._network = WhisperNetwork(directory, threads)

    def pending(self) -> Iterable[Pending]:
        for slot, listener in enumerate(self._listeners):
            if listener.requests and listener.requests[0].end <= self._ring.written[slot]:
                yield Pending(slot, FINAL, listener.requests[0].slack_s)
            segment = listener.segment
            if segment is None or not self._partials:
                continue
            end = self._heard_end(slot, segment)
            interval = PARTIAL_INTERVAL_SAMPLES if segment.agreement.text else EAGER_INTERVAL_SAMPLES
            if end - segment.start >= FIRST_PARTIAL_SAMPLES and end - segment.heard >= interval:
                yield Pending(slot, PARTIAL, listener.audio_slack_s)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        return self._step_partials(slots) if bucket == PARTIAL else self._step_finals(slots)

    def snapshot(self, slot: int) -> bytes:
        return msgspec.msgpack.encode(_Snapshot(self._ring.snapshot(slot), self._listeners[slot]))

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._ring.restore(slot, saved.audio)
        self._listeners[slot] = saved.listener

    @property
    def _longest(self) -> int:
        return HEARD_SAMPLES

    def _follow(self, slot: int, message: Message) -> None:
        listener, meta = self._listeners[slot], message.meta
        language = self._language(meta["language"])
        listener.follow(meta["segment"], message.pts, language, self._prompt(meta["prompt"]))
        if language in self._not_followed:
            listener.unfollow(meta["segment"])

    def _transcribe(self, slot: int, message: Message) -> None:
        listener, meta = self._listeners[slot], message.meta
        self._check_room(slot)
        language, prompt = self._language(meta["language"]), self._prompt(meta["prompt"])
        request = Request(meta["segment"], meta["start"], message.pts, language, prompt, meta["words"], message.slack_s)
        if self._finals:
            listener.request(request)
        listener.unfollow(request.number)

    def _language(self, code: str | None) -> str | None:
        if code is not None and code not in self._network.languages:
            known = ", ".join(sorted(self._network.languages))
            raise StreamError(f"language must be one of these ISO-639-1 codes: {known}; got {code!r}", param="language")
        return code

    def _prompt(self, prompt: str | None) -> tuple[int, ...]:
        return self._network.tokenize(prompt) if prompt else ()

    def _heard_end(self, slot: int, segment: Segment) -> int:
        return min(int(self._ring.written[slot]), segment.start + HEARD_SAMPLES)

    def _step_partials(self, slots: Sequence[int]) -> list[Output]:
        passages = [self._followed(slot) for slot in slots]
        drafts = draft(self._network, self._read(passages), passages)
        outputs = [self._agree(passage, heard) for passage, heard in zip(passages, drafts, strict=True)]
        return [output for output in outputs if output is not None]

    def _step_finals(self, slots: Sequence[int]) -> list[Output]:
        passages = [self._requested(slot) for slot in slots]
        transcripts = transcribe(self._network, self._read(passages), passages)
        return [self._answer(passage, heard) for passage, heard in zip(passages, transcripts, strict=True)]

    def _followed(self, slot: int) -> Passage:
        listener = self._listeners[slot]
        segment = listener.segment
        assert segment is not None
        language = segment.language or listener.language
        end = self._heard_end(slot, segment)
        return Passage(slot, segment.start, end, language, segment.prompt, tuple(segment.agreement.tokens))

    def _requested(self, slot: int) -> Passage:
        listener = self._listeners[slot]
        request = listener.requests[0]
        return Passage(slot, request.start, request.end, request.language or listener.language, request.prompt)

    def _read(self, passages: Sequence[Passage]) -> FloatArray:
        """The audio of each passage, then silence: float32 `[B, 240000]`."""
        slots, starts = [passage.slot for passage in passages], [passage.start for passage in passages]
        audio = self._ring.read(slots, starts, HEARD_SAMPLES)
        lengths = np.array([passage.end - passage.start for passage in passages])
        audio[np.arange(HEARD_SAMPLES) >= lengths[:, None]] = 0
        return audio

    def _agree(self, passage: Passage, heard: Draft) -> Output | None:
        """Compare with the segment's former hypothesis; an output if the agreed text grew."""
        segment = self._listeners[passage.slot].segment
        assert segment is not None
        segment.heard = passage.end
        if not heard.plausible or not segment.agreement.update(heard.words):
            return None
        segment.language = heard.language
        meta = {"segment": segment.number, "text": segment.agreement.text}
        return Output(passage.slot, "partial", passage.end, meta=meta)

    def _answer(self, passage: Passage, heard: Transcript) -> Output:
        listener = self._listeners[passage.slot]
        request = listener.requests.pop(0)
        if heard.detected:
            listener.language = heard.language
        self._ring.release(passage.slot, listener.needed_from)
        meta = {
            "segment": request.number,
            "text": heard.text,
            "language": heard.language,
            "tokens": [list(token) for token in heard.tokens],
            "no_speech": heard.no_speech,
            "avg_logprob": heard.avg_logprob,
        }
        if request.words:
            meta["words"] = [list(word) for word in heard.words]
        return Output(passage.slot, "final", passage.end, meta=meta)
