"""FastConformer as a stream: words while they are said, a final text as soon as they have been."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import torch

from models.asr.fastconformer.boosting import Boosting, boost
from models.asr.fastconformer.checkpoint import load
from models.asr.fastconformer.config import FRAME_S
from models.asr.fastconformer.decoder import Token
from models.asr.fastconformer.decoders import make_decoder
from models.asr.fastconformer.streaming import StreamingEncoder, chunk_mels
from models.asr.fastconformer.streaming_frontend import StreamingFrontend
from models.asr.fastconformer.timing import FRAME_SAMPLES
from models.asr.fastconformer.transcript import final
from models.asr.fastconformer.utterances import Listener, Request, Track, Utterance
from models.asr.fastconformer.vocabulary import Vocabulary, VocabularyError
from models.asr.recogniser import Recogniser
from models.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, HeldAudio
from models.base import Message, Output, Pending, StreamError

LANGUAGE = "en"
"""What checkpoints that are not told a language were trained on."""
MAX_OVERRUN_S = 0.5
"""A final text that ends so little before what was heard already is made of that; for others it is heard anew."""
_FRAME_MS = round(1_000 * FRAME_S)
_CACHED_PHRASES = 64


class Step(NamedTuple):
    """A tensor shape: the next `mels` frames of utterances, the `first` ones or later ones, or (`last`) their ends."""

    lookahead: int
    mels: int
    first: bool
    last: bool

    def __str__(self) -> str:
        """Without the length of a tail: metrics are kept for each name."""
        return f"{_FRAME_MS * self.lookahead} ms" + ", first" * self.first + ", tail" * self.last


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    audio: HeldAudio
    listener: Listener
    encoder: bytes
    decoder: bytes


class FastConformerStream(Recogniser[Listener]):
    """Puts out `partial` for each chunk heard of the followed utterance (pts = end of the audio heard, meta {"segment",
    "text", "blank"}, each text beginning with the one before, `blank`: samples since its last token or since its
    start) and `final` per `transcribe` (pts = its end, meta as Whisper's, with no_speech 1 where no word was heard and
    0 elsewhere). Finals of a stream come in the order asked for; one that ends beyond the audio received waits for it.
    """

    name: ClassVar[str] = "fastconformer"

    def __init__(
        self,
        directory: Path,
        capacity: int,
        *,
        window_s: float = 30.0,
        max_batch: int = 16,
        lookahead_ms: int | None = None,
        partials: bool = True,
        finals: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`directory` holds a checkpoint; each slot can hold `window_s` seconds of unreleased audio.

        `lookahead_ms` is that of followed utterances that do not choose one, the checkpoint's default if None. A
        checkpoint that was not trained for one that is asked for, here or by an utterance, looks as much farther as it
        must. Without `partials` or `finals` another model does that work. Raises CheckpointError.
        """
        loaded = load(next(directory.glob("*.nemo"), directory))
        self._vocabulary, config = loaded.vocabulary, loaded.network.config
        self._frontend = StreamingFrontend(config.frontend)
        super().__init__(capacity, window_s, Listener, self._frontend.history_samples)
        self.max_batch = max_batch
        self._prompt = config.prompt
        self._partials, self._finals = partials, finals
        self._lookaheads = {_FRAME_MS * lookahead: lookahead for lookahead in sorted(config.encoder.lookaheads)}
        self._lookahead = config.encoder.lookaheads[0] if lookahead_ms is None else self._nearest(lookahead_ms)
        self._encoder = StreamingEncoder(loaded.network, capacity, dtype)
        self._decoder = make_decoder(loaded, capacity, dtype)
        self._hop = config.frontend.hop
        self._boosting = lru_cache(_CACHED_PHRASES)(self._compile)

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639-1 codes of the languages it knows: those it has prompts for and, if it writes any, tags."""
        if self._prompt is None:
            return frozenset({LANGUAGE})
        known = frozenset(self._prompt.languages)
        return known & frozenset(self._vocabulary.tags.values()) or known

    def pending(self) -> Iterable[Pending]:
        for slot, listener in enumerate(self._listeners):
            step = self._next(slot)
            if step is None:
                continue
            period_s = (step.lookahead + 1) * FRAME_S
            request = listener.request
            yield Pending(slot, step, request.slack_s if request else min(listener.audio_slack_s, period_s))

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        assert isinstance(bucket, Step)
        slots = [slot for slot in slots if self._next(slot) == bucket]
        if not slots:
            return []
        return self._finish(bucket, slots) if bucket.last else self._advance(bucket, slots)

    def snapshot(self, slot: int) -> bytes:
        states = self._encoder.snapshot(slot), self._decoder.snapshot(slot)
        return msgspec.msgpack.encode(_Snapshot(self._ring.snapshot(slot), self._listeners[slot], *states))

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._ring.restore(slot, saved.audio)
        self._listeners[slot] = saved.listener
        track = saved.listener.track
        self._encoder.restore(slot, saved.encoder)
        self._decoder.reset(slot, self._boosting(track.utterance.phrases) if track else None)
        self._decoder.restore(slot, saved.decoder)

    def close(self, slot: int) -> None:
        super().close(slot)
        self._decoder.reset(slot)

    # --- what is asked for ---

    def _follow(self, slot: int, message: Message) -> None:
        listener, meta = self._listeners[slot], message.meta
        utterance = self._utterance(listener, meta, message.pts, self._lookahead)
        understood = meta["language"] in (None, *self.languages)
        listener.withdraw(utterance.number)
        listener.followed = utterance if self._partials and understood else None

    def _transcribe(self, slot: int, message: Message) -> None:
        listener, meta = self._listeners[slot], message.meta
        if self._finals:
            if meta["language"] not in (None, *self.languages):
                known = ", ".join(sorted(self.languages))
                told = f"language must be one of these ISO-639-1 codes: {known}; got {meta['language']!r}"
                raise StreamError(told, param="language")
            self._check_room(slot)
            longest = max(self._lookaheads.values())
            utterance = self._utterance(listener, meta, meta["start"], longest)
            listener.ask(Request(utterance, message.pts, meta["words"], message.slack_s))
        listener.unfollow(meta["segment"])

    @property
    def _longest(self) -> int:
        return self.window // BYTES_PER_SAMPLE

    def _utterance(self, listener: Listener, meta: Mapping[str, Any], start: int, lookahead: int) -> Utterance:
        """The one that the network has begun to hear, else a new one."""
        language = meta["language"] or (None if self._prompt else LANGUAGE)
        if known := listener.known(meta["segment"], start, language):
            return known
        wanted_ms = meta.get("lookahead_ms")
        phrases = tuple(meta.get("phrases") or ())
        self._boosting(phrases)
        chosen = lookahead if wanted_ms is None else self._nearest(wanted_ms)
        return Utterance(meta["segment"], start, chosen, phrases, language)

    def _nearest(self, lookahead_ms: int) -> int:
        enough = (lookahead for known_ms, lookahead in self._lookaheads.items() if known_ms >= lookahead_ms)
        return next(enough, max(self._lookaheads.values()))

    def _compile(self, phrases: tuple[str, ...]) -> Boosting | None:
        """Those of the phrases that the vocabulary can write. Raises StreamError."""
        writable = [phrase for phrase in phrases if _can_write(self._vocabulary, phrase)]
        return boost(writable, self._vocabulary) if writable else None

    # --- what can be done ---

    def _next(self, slot: int) -> Step | None:
        """What the slot's network has to hear next: towards the oldest request, else of what is followed."""
        utterance, request = self._listeners[slot].wanted, self._listeners[slot].request
        if utterance is None:
            return None
        track = self._track(slot, utterance)
        begin, written = utterance.start // self._hop + track.mels, int(self._ring.written[slot])
        chunk = chunk_mels(utterance.lookahead, first := track.mels == 0)
        remaining = request.end // self._hop - begin if request else chunk
        if min(remaining, self._frontend.frames(written) - begin) >= chunk:
            return Step(utterance.lookahead, chunk, first, last=False)
        if request is None or request.end > written:
            return None
        return Step(utterance.lookahead, max(remaining, 0), first, last=True)

    def _track(self, slot: int, utterance: Utterance) -> Track:
        """The slot's track if it is about the utterance and not beyond what is asked for, else a new one."""
        track, request = self._listeners[slot].track, self._listeners[slot].request
        if track is None or track.utterance != utterance:
            return Track(utterance)
        overrun = self._position(track) - request.end if request else 0
        return track if overrun <= MAX_OVERRUN_S * SAMPLE_RATE_HZ else track.anew()

    # --- steps ---

    def _begun(self, slots: Sequence[int]) -> list[Track]:
        """The tracks of slots that have something to hear; those of other utterances are begun."""
        tracks = []
        for slot in slots:
            utterance = self._listeners[slot].wanted
            assert utterance is not None
            track = self._track(slot, utterance)
            if track is not self._listeners[slot].track:
                self._encoder.reset(slot, utterance.language)
                self._decoder.reset(slot, self._boosting(utterance.phrases))
                self._listeners[slot].track = track
            tracks.append(track)
        return tracks

    def _mels(self, step: Step, slots: Sequence[int], tracks: Sequence[Track]) -> torch.Tensor:
        starts = [track.utterance.start // self._hop + track.mels for track in tracks]
        return self._frontend.step(self._ring, slots, starts, step.mels)

    def _advance(self, step: Step, slots: Sequence[int]) -> list[Output]:
        tracks = self._begun(slots)
        mels = self._mels(step, slots, tracks)
        try:
            encoded = self._encoder.step(slots, mels, step.lookahead)
            heard = self._decoder.step(slots, encoded)
        except Exception:
            for slot in slots:  # the encoder may be a chunk ahead of the decoder
                self._listeners[slot].track = None
            raise
        outputs = []
        for slot, track, new in zip(slots, tracks, heard, strict=True):
            track.hear(step.mels, new)
            if track.utterance == self._listeners[slot].followed and track.mels > track.told_until:
                outputs.append(self._partial(slot, track))
        return outputs

    def _partial(self, slot: int, track: Track) -> Output:
        text = self._vocabulary.decode([token.id for token in track.told])
        blank = self._wordless(slot, track) * FRAME_SAMPLES
        heard = min(self._position(track), int(self._ring.written[slot]))
        return Output(slot, "partial", heard, meta={"segment": track.utterance.number, "text": text, "blank": blank})

    def _wordless(self, slot: int, track: Track) -> int:
        """Frames since the last token that writes something, or since the start."""
        tokens = [*track.tokens, *track.likely]
        last = tokens[-1].frame if tokens else -1
        written = (token.frame for token in reversed(tokens) if self._vocabulary.decode([token.id]))
        return self._decoder.silence(slot) + last - next(written, -1)

    def _finish(self, step: Step, slots: Sequence[int]) -> list[Output]:
        """Final texts: what the tail of the audio adds is heard by a copy, so that the utterance may go on."""
        tracks = self._begun(slots)
        ends = [track.likely for track in tracks]
        if step.mels:
            encoded = self._encoder.finish(slots, self._mels(step, slots, tracks), step.lookahead)
            ends = [[*heard.certain, *heard.likely] for heard in self._decoder.peek(slots, encoded)]
        outputs = []
        for slot, track, end in zip(slots, tracks, ends, strict=True):
            request = self._listeners[slot].requests.pop(0)
            self._ring.release(slot, self._listeners[slot].needed_from)
            outputs.append(self._final(slot, request, self._said([*track.tokens, *end], track, request.end)))
        return outputs

    def _said(self, tokens: list[Token], track: Track, end: int) -> list[Token]:
        """The tokens of what was said before sample `end`, of which more may have been heard."""
        if self._position(track) <= end:
            return tokens
        return [token for token in tokens if self._begin(track.utterance) + token.frame * FRAME_SAMPLES < end]

    def _final(self, slot: int, request: Request, tokens: Sequence[Token]) -> Output:
        begin = self._begin(request.utterance)
        told = final(self._vocabulary, tokens, request.utterance.language, begin, request.end, words=request.words)
        meta = {"segment": request.utterance.number, **told}
        return Output(slot, "final", request.end, meta=meta)

    def _begin(self, utterance: Utterance) -> int:
        """The sample at which the first frame is centred."""
        return utterance.start // self._hop * self._hop

    def _position(self, track: Track) -> int:
        """End of the audio that the track has heard, in samples."""
        return self._begin(track.utterance) + track.mels * self._hop


def _can_write(vocabulary: Vocabulary, phrase: str) -> bool:
    try:
        return bool(vocabulary.encode(phrase))
    except VocabularyError:
        return False
