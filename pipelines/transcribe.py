"""Speech in, text out: turn-taking and the order of recognition for one audio stream.

Sans-I/O. Audio goes to a `listen` stream; what comes back (speech probabilities, turn judgements, partial and final
texts) drives turns. Everything the client asks of the audio buffer (commit, clear, another turn detection) takes
effect at the media position where it was asked, however far analysis lags behind.
"""

from collections.abc import Callable
from typing import Any

from pipelines.effects import OpenStream, Push, StreamOutput
from pipelines.transcribe_events import (
    Cleared,
    CommitRefused,
    Committed,
    Completed,
    Delta,
    Effect,
    Failed,
    GaveUp,
    Likely,
    SpeechStarted,
    SpeechStopped,
    Unlikely,
)
from pipelines.transcribe_state import Marker, TranscribeConfig, TranscribeState
from pipelines.transcript import Final, Item, Segment, Token, Word, join, seconds
from pipelines.turns import (
    FRAME_SAMPLES,
    PAUSE_SAMPLES,
    SAMPLE_RATE_HZ,
    Asked,
    Detection,
    Paused,
    Resumed,
    ServerVad,
    Started,
    Stopped,
    TurnDetector,
    TurnEvent,
)

SERVICE = "listen"
SAMPLE_BYTES = 2
CHUNK_BYTES = 3_200
"""Audio crosses the broker in pieces of at most 100 ms."""
MIN_COMMIT_SAMPLES = 1_600
SOFT_SEGMENT_SAMPLES = 8 * SAMPLE_RATE_HZ
"""A segment this long is cut at the next pause."""
HARD_SEGMENT_SAMPLES = 14 * SAMPLE_RATE_HZ
"""A segment this long is cut where speech is least likely: the recogniser's window is 15 s."""
CUT_SEARCH_SAMPLES = 6 * SAMPLE_RATE_HZ
QUIET_SPEECH = 0.3
"""A segment in which no frame is likelier to be speech than this is not transcribed: recognisers invent text for
silence.
"""
RELEASE_EVERY_SAMPLES = SAMPLE_RATE_HZ // 2
MAX_FAILURES = 3
"""Streams lost in a row, without a final text between them, after which the pipeline gives up."""


class Transcribe:
    """The pipeline. Each method returns effects to carry out in order.

    `new_item` names items. `state` may be serialised at any time and given to another instance, which goes on from
    there.
    """

    def __init__(self, state: TranscribeState, new_item: Callable[[], str]) -> None:
        self.state = state
        self._new_item = new_item
        self._detector = TurnDetector(self._detection(), state.turn)

    def start(self) -> list[Effect]:
        """Reserve the stream."""
        return [OpenStream(SERVICE)]

    def audio(self, pcm: bytes) -> list[Effect]:
        """Take 16 kHz mono little-endian int16 audio."""
        effects: list[Effect] = []
        for start in range(0, len(pcm), CHUNK_BYTES):
            chunk = pcm[start : start + CHUNK_BYTES]
            effects.append(Push("audio", self.state.received, chunk, slack_s=self.state.config.partial_slack_s))
            self.state.received += len(chunk) // SAMPLE_BYTES
        return effects

    def commit(self, reference: str | None = None) -> list[Effect]:
        """Close the item at the end of the audio received so far."""
        return self._mark(Marker(self.state.received, "commit", reference))

    def clear(self) -> list[Effect]:
        """Forget the audio received so far that no item was made of."""
        return self._mark(Marker(self.state.received, "clear"))

    def configure(self, config: TranscribeConfig) -> list[Effect]:
        """Listen differently from the audio received so far on."""
        return self._mark(Marker(self.state.received, "configure", config=config))

    def on_output(self, output: StreamOutput) -> list[Effect]:
        """Take what the stream produced."""
        match output.kind:
            case "vad":
                return self._frame(output.pts, output.meta["speech"])
            case "turn":
                events = self._detector.judged(output.pts, output.meta["probability"], self.state.analysed)
                return self._turn_events(events)
            case "partial":
                return self._partial(output.meta["segment"], output.meta["text"], output.pts) + self._wordless(output)
            case "final":
                return self._final(output)
            case "error" | "lost":
                return self._lost(output.meta["code"], output.meta["message"])
            case "refused":
                return [GaveUp(output.meta["code"], output.meta["message"])]
            case kind:
                raise ValueError(f"a listen stream has no output {kind!r}")

    def is_onset(self, probability: float) -> bool:
        """Whether a frame of this speech probability can begin speech."""
        return probability >= self._detection().threshold

    def is_of(self, item_id: str, segment_id: int) -> bool:
        """Whether a segment belongs to an item that is not settled."""
        return any(s.id == segment_id for item in self.state.items if item.id == item_id for s in item.segments)

    # --- media time ---

    def _frame(self, end: int, probability: float) -> list[Effect]:
        state = self.state
        state.analysed = end
        state.frames = [*state.frames[-(CUT_SEARCH_SAMPLES // FRAME_SAMPLES) :], (end, probability)]
        if state.config.detection is None:
            self._open_item(state.floor)
        segment = self._open_segment()
        if segment is not None and segment.speech is None and self._is_speech(probability):
            segment.speech = end
        effects = self._turn_events(self._detector.frame(end, probability))
        effects += self._cut_if_long()
        effects += self._run_markers()
        return effects + self._release()

    def _turn_events(self, events: list[TurnEvent]) -> list[Effect]:
        effects: list[Effect] = []
        for event in events:
            effects += self._turn_event(event)
        self.state.turn = self._detector.state
        return effects

    def _turn_event(self, event: TurnEvent) -> list[Effect]:
        live = self.state.config.detection is not None
        match event:
            case Started(pts) if live:
                start = max(pts - self._prefix(), self.state.floor, self.state.released)
                item = self._open_item(start)
                return [SpeechStarted(item.id, self._session_pts(start)), *self._resumed()]
            case Paused(pts):
                return self._paused(pts)
            case Resumed() | Started():
                return self._resumed()
            case Asked(pts):
                return [Push("judge", pts, slack_s=self.state.config.final_slack_s)]
            case Stopped(pts) if live:
                item = self.state.items[-1]
                return [SpeechStopped(item.id, self._session_pts(pts)), *self._close_item(pts)]
        return []

    def _paused(self, pts: int) -> list[Effect]:
        """Transcribe ahead: most pauses end the turn, and a long segment is best cut here."""
        segment = self._open_segment()
        if segment is None:
            return []
        long = pts - segment.start >= SOFT_SEGMENT_SAMPLES
        if long and segment.speech is not None:
            return self._cut(segment, pts)
        config = self.state.config
        return self._request(segment, pts) if config.transcribe and config.detection is not None else []

    def _resumed(self) -> list[Effect]:
        segment = self._open_segment()
        if segment is None:
            return []
        withdrawn = [Unlikely(self.state.items[-1].id)] if segment.final is not None else []
        segment.requested = segment.final = None
        return [*withdrawn, *self._follow()]

    def _cut_if_long(self) -> list[Effect]:
        segment, now = self._open_segment(), self.state.analysed
        if segment is None or now - segment.start < HARD_SEGMENT_SAMPLES:
            return []
        if segment.speech is None:
            segment.start = now - PAUSE_SAMPLES
            return []
        candidates = [(speech, end) for end, speech in self.state.frames if now - CUT_SEARCH_SAMPLES <= end]
        _, end = min(candidates)
        return self._cut(segment, end - FRAME_SAMPLES // 2)

    def _cut(self, segment: Segment, at: int) -> list[Effect]:
        """End the segment and begin the item's next one."""
        effects = self._close_segment(segment, at)
        self.state.items[-1].segments.append(self._new_segment(at))
        return effects + self._follow()

    def _release(self) -> list[Effect]:
        """Let the models forget audio that no segment can need any more."""
        state = self.state
        keep = state.analysed
        if state.config.detection is not None:
            keep -= self._prefix() + 4 * FRAME_SAMPLES
        unsettled = [s.start for item in state.items for s in item.segments if not s.settled]
        keep = min([keep, *unsettled])
        if keep - state.released < RELEASE_EVERY_SAMPLES:
            return []
        state.released = keep
        return [Push("release", keep)]

    # --- items and segments ---

    def _open_item(self, start: int) -> Item:
        items = self.state.items
        if not items or items[-1].end is not None:
            items.append(Item(self._new_item(), start, [self._new_segment(start)]))
        return items[-1]

    def _new_segment(self, start: int) -> Segment:
        state = self.state
        state.segments += 1
        start = max(start, state.released, state.analysed - HARD_SEGMENT_SAMPLES)
        speech = (end for end, probability in state.frames if end > start and self._is_speech(probability))
        return Segment(state.segments, start, next(speech, None))

    def _open_segment(self) -> Segment | None:
        items = self.state.items
        return items[-1].segments[-1] if items and items[-1].end is None else None

    def _close_item(self, end: int) -> list[Effect]:
        item = self.state.items[-1]
        segment = item.segments[-1]
        effects: list[Effect] = [Committed(item.id), *self._close_segment(segment, end)]
        item.end = self.state.floor = end
        item.transcribed = self.state.config.transcribe
        return effects + self._emit()

    def _close_segment(self, segment: Segment, end: int) -> list[Effect]:
        segment.closed = True
        if segment.speech is None or end <= segment.speech - FRAME_SAMPLES:
            segment.final = Final()
        if segment.requested is not None or segment.final is not None:
            return []
        return self._request(segment, end)

    def _follow(self) -> list[Effect]:
        segment, config = self._open_segment(), self.state.config
        if segment is None or config.detection is None or not config.transcribe:
            return []
        return [Push("follow", segment.start, meta={"segment": segment.id, **self._options()})]

    def _request(self, segment: Segment, end: int) -> list[Effect]:
        config = self.state.config
        if not config.transcribe:
            segment.final = Final()
            return []
        segment.requested = end
        meta = {"segment": segment.id, "start": segment.start, "words": config.words, **self._options()}
        return [Push("transcribe", end, meta=meta, slack_s=config.final_slack_s)]

    def _options(self) -> dict[str, Any]:
        """How recognisers should listen."""
        config = self.state.config
        return {
            "language": config.language,
            "prompt": config.prompt,
            "phrases": config.phrases,
            "lookahead_ms": config.lookahead_ms,
        }

    # --- text ---

    def _partial(self, segment_id: int, text: str, heard: int) -> list[Effect]:
        segment = self._find(segment_id)
        if segment is None or self._beyond(segment, heard):
            return []
        segment.partial, segment.heard = text, heard
        return self._emit()

    def _wordless(self, output: StreamOutput) -> list[Effect]:
        """A recogniser that tells how long it has heard no word may end a turn that noise keeps alive."""
        segment = self._open_segment()
        if segment is None or segment.id != output.meta["segment"]:
            return []
        return self._turn_events(self._detector.wordless(output.meta.get("blank", 0), self.state.analysed))

    def _beyond(self, segment: Segment, heard: int) -> bool:
        """Whether audio up to `heard` may hold words of what follows the segment, as far as is known."""
        end = segment.requested if segment.closed else self.state.analysed
        return end is None or heard >= end + FRAME_SAMPLES

    def _final(self, output: StreamOutput) -> list[Effect]:
        segment = self._find(output.meta["segment"])
        if segment is None or segment.requested != output.pts:
            return []
        base, meta = self.state.base, output.meta
        segment.final = Final(
            meta["text"],
            meta["language"],
            [Word(text, start + base, end + base, p) for text, start, end, p in meta.get("words", [])],
            [Token(text, logprob) for text, logprob in meta["tokens"]],
            meta["avg_logprob"],
            meta["no_speech"],
        )
        self.state.failures = 0
        return self._emit() + self._likely() + self._release()

    def _likely(self) -> list[Effect]:
        """What the open item says if it ends at this pause."""
        if self._open_segment() is None:
            return []
        item = self.state.items[-1]
        if not all(segment.final is not None for segment in item.segments):
            return []
        return [Likely(item.id, join([final for _, final in item.finals()]))]

    def _find(self, segment_id: int) -> Segment | None:
        segments = (segment for item in self.state.items for segment in item.segments)
        return next((segment for segment in segments if segment.id == segment_id), None)

    def _emit(self) -> list[Effect]:
        """Say what text has become certain, and which items are complete. Items complete in order."""
        effects: list[Effect] = []
        for item in list(self.state.items):
            delta = item.new_text()
            if delta:
                effects.append(Delta(item.id, delta))
            if not item.settled:
                break
            effects.append(self._completed(item))
            self.state.items.remove(item)
        return effects

    def _completed(self, item: Item) -> Completed:
        assert item.end is not None
        base, finals = self.state.base, item.finals()
        segments = [
            (seconds(segment.start + base), seconds((segment.requested or segment.start) + base), final)
            for segment, final in finals
        ]
        text = join([final for _, final in finals])
        return Completed(item.id, text, seconds(item.end - item.start), segments, item.transcribed)

    # --- what the client asks for ---

    def _mark(self, marker: Marker) -> list[Effect]:
        self.state.markers.append(marker)
        return self._run_markers()

    def _run_markers(self) -> list[Effect]:
        """Carry out what was asked at positions that analysis has reached, up to a last piece of less than a frame."""
        effects: list[Effect] = []
        while self.state.markers and self.state.analysed + FRAME_SAMPLES > self.state.markers[0].pts:
            marker = self.state.markers.pop(0)
            match marker.action:
                case "commit":
                    effects += self._commit_at(marker)
                case "clear":
                    effects += self._clear_at(marker.pts)
                case "configure":
                    assert marker.config is not None
                    self._configure(marker.config)
        return effects

    def _commit_at(self, marker: Marker) -> list[Effect]:
        buffered = marker.pts - self.state.floor
        if buffered < MIN_COMMIT_SAMPLES:
            return [CommitRefused(marker.reference, buffered * 1_000 // SAMPLE_RATE_HZ)]
        self._open_item(self.state.floor)
        self._reset_turn()
        return self._close_item(marker.pts)

    def _clear_at(self, pts: int) -> list[Effect]:
        item = self.state.items.pop().id if self._open_segment() is not None else None
        self._reset_turn()
        self.state.floor = pts
        return [Push("unfollow"), Cleared(item)]

    def _configure(self, config: TranscribeConfig) -> None:
        taken_over = self.state.config.detection is None and config.detection is not None
        self.state.config = config
        self._detector = TurnDetector(self._detection(), self._detector.state)
        if taken_over:
            self._take_over()

    def _take_over(self) -> None:
        """Turns are no longer left to the client: speech in progress starts one, and silence is no item."""
        self._reset_turn()
        item, segment = self.state.items[-1] if self.state.items else None, self._open_segment()
        if item is not None and segment is item.segments[0] and segment.speech is None:
            self.state.items.pop()

    def _reset_turn(self) -> None:
        self._detector = TurnDetector(self._detection())
        self.state.turn = self._detector.state

    # --- trouble ---

    def _lost(self, code: str, message: str) -> list[Effect]:
        """The stream is gone with the audio it held: say so of each item it concerns, and listen on with a new one."""
        effects = [effect for effect in self._wind_up() if not isinstance(effect, Push)]
        state = self.state
        effects += [Failed(item.id, code, message) for item in state.items]
        self.state = TranscribeState(
            state.config,
            base=state.base + state.received,
            segments=state.segments,
            failures=state.failures + 1,
        )
        self._reset_turn()
        if self.state.failures > MAX_FAILURES:
            return [*effects, GaveUp(code, f"{self.state.failures} streams failed in a row; the last: {message}")]
        return [*effects, *self.start()]

    def _wind_up(self) -> list[Effect]:
        """Carry out what the client asked for, and end the turn, as if all that was not analysed were speech."""
        state = self.state
        unheard = [(end, 1.0) for end in range(state.analysed + FRAME_SAMPLES, state.received + 1, FRAME_SAMPLES)]
        state.frames, state.analysed = state.frames + unheard, state.received
        segment = self._open_segment()
        if segment is not None and segment.speech is None and unheard:
            segment.speech, _ = unheard[0]
        effects = self._run_markers()
        if state.config.detection is None and state.received > state.floor:
            self._open_item(state.floor)
        elif self._detector.state.speaking:
            effects += self._turn_event(Stopped(state.received))
        return effects

    # --- small things ---

    def _detection(self) -> Detection:
        """With turns left to the client, pauses still tell where to cut."""
        return self.state.config.detection or ServerVad()

    def _is_speech(self, probability: float) -> bool:
        return probability >= min(QUIET_SPEECH, self._detector.lasting)

    def _prefix(self) -> int:
        return self._detection().prefix_padding_ms * SAMPLE_RATE_HZ // 1_000

    def _session_pts(self, pts: int) -> int:
        return pts + self.state.base
