"""A scripted `listen` stream, and a driver that lets a pipeline hear it: tests of pipelines read as stories.

Times of a script count from the session's start; positions on the stream are samples of 16 kHz audio.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipelines.effects import OpenStream, Push, StreamOutput
from pipelines.transcribe import Transcribe
from pipelines.transcribe_events import Delta, Effect, Event, Likely, Unlikely
from pipelines.transcribe_state import TranscribeConfig, TranscribeState
from pipelines.turns import FRAME_SAMPLES, SAMPLE_RATE_HZ

CHUNK_S = 0.1
MAX_CHUNK_BYTES = 3_200
HEARD_SAMPLES = 15 * SAMPLE_RATE_HZ
WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
MAX_REQUESTS = WINDOW_SAMPLES // (3 * FRAME_SAMPLES)
"""As many of the shortest turns as a window holds."""
FIRST_PARTIAL_SAMPLES = SAMPLE_RATE_HZ // 2
PARTIAL_INTERVAL_SAMPLES = SAMPLE_RATE_HZ // 4
LISTENING = TranscribeConfig()
SILENCE = 0.02
SPEECH = 0.95


class Refused(AssertionError):
    """The pipeline sent what the real models would answer with an error."""


class Utterance(NamedTuple):
    """Words spoken evenly over samples [start, end); `probability`: how much each frame resembles speech."""

    start: int
    end: int
    text: str = ""
    probability: float = SPEECH


def said(start_s: float, end_s: float, text: str = "", probability: float = SPEECH) -> Utterance:
    return Utterance(samples(start_s), samples(end_s), text, probability)


def numbered(start_s: float, end_s: float, prefix: str = "w") -> Utterance:
    """Unbroken speech of two different words a second."""
    count = round((end_s - start_s) * 2)
    return said(start_s, end_s, " ".join(f"{prefix}{number}" for number in range(count)))


def samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class Script:
    """What is said, and how the models behave. A lag is how many samples of audio arrive before an answer does."""

    utterances: tuple[Utterance, ...] = ()
    vad_lag: int = 0
    partial_lag: int = 0
    judge_lag: int = 0
    final_lag: Callable[[int], int] = lambda segment: 0
    finished: Callable[[int], float] = lambda pts: 0.0
    """Probability that the turn is complete at a position."""
    final_text: Callable[[str], str] = str
    """What finals say where partials said the argument."""
    streaming: int = 0
    """Samples of a streaming recogniser's chunk: partial texts end with the last word said and tell of blanks."""
    partial_text: Callable[[str], str] = str
    """What a streaming recogniser says where finals say the argument."""
    language: str = "en"
    separator: str = " "
    withdraws: bool = True
    """False if answers that are no longer wanted are always on their way already."""
    window: int = WINDOW_SAMPLES


@dataclass
class Listen:
    """One stream of the service, `base` samples after the session began. Raises Refused."""

    script: Script
    base: int = 0
    written: int = 0
    analysed: int = 0
    released: int = 0
    followed: int | None = None
    follows: dict[int, int] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    partials: dict[int, str] = field(default_factory=dict)
    requests: dict[int, Push] = field(default_factory=dict)
    judgement: Push | None = None
    pushed: list[Push] = field(default_factory=list)
    """Every push without its audio."""
    _sent: int = 0
    _framed: int = 0
    _waiting: list[Push] = field(default_factory=list)
    _answered: dict[int, int] = field(default_factory=dict)
    _due: list[tuple[int, int, StreamOutput]] = field(default_factory=list)
    _scheduled: int = 0

    def push(self, push: Push) -> None:
        """Take a message. Audio waits while the window is full; other messages overtake it."""
        self.pushed.append(_without_data(push))
        match push.kind:
            case "audio":
                self._check_audio(push)
                self._waiting.append(push)
            case "release":
                if push.pts > self.written:
                    raise Refused(f"release of {push.pts}, written {self.written}")
                self.released = max(self.released, push.pts)
            case "follow":
                self._follow(push)
            case "unfollow":
                self.followed = None
            case "transcribe":
                self._transcribe(push)
            case "judge":
                self._check_held(push.pts)
                self.judgement = push
                probability = self.script.finished(push.pts + self.base)
                self._answer(self.script.judge_lag, StreamOutput("turn", push.pts, meta={"probability": probability}))
            case kind:
                raise Refused(f"unknown message {kind!r}")
        self._drain()

    def pull(self, *, settle: bool = False) -> StreamOutput | None:
        """The next output that is due by now; with `settle`, by the end of time."""
        while self._due and (settle or self._due[0][0] <= self._sent):
            output = heapq.heappop(self._due)[2]
            if self._wanted(output):
                self._drain()
                return output
        return None

    @property
    def unreleased(self) -> int:
        """Samples that the models hold."""
        judged = [self.judgement.pts] if self.judgement else []
        needed: list[int] = [push.meta["start"] for push in self.requests.values()]
        return self.written - min([self.analysed, self.released, *judged, *needed])

    @property
    def waiting(self) -> int:
        """Samples that wait for the window."""
        return sum(len(push.data) // 2 for push in self._waiting)

    def kinds(self, kind: str) -> list[Push]:
        """Messages of one kind so far."""
        return [push for push in self.pushed if push.kind == kind]

    def _check_audio(self, push: Push) -> None:
        if push.pts != self._sent or not push.data or len(push.data) % 2 or len(push.data) > MAX_CHUNK_BYTES:
            raise Refused(f"audio of {len(push.data)} bytes at {push.pts}, expected at {self._sent}")
        self._sent += len(push.data) // 2

    def _drain(self) -> None:
        while self._waiting and self.unreleased + len(self._waiting[0].data) // 2 <= self.script.window:
            self.written += len(self._waiting.pop(0).data) // 2
            self._hear_frames()
            self._hear_words()
            self._hear_requests()

    def _hear_frames(self) -> None:
        while self._framed + FRAME_SAMPLES <= self.written:
            self._framed += FRAME_SAMPLES
            lag = max(0, self.script.vad_lag - (self._sent - self._framed))
            speech = self._probability(self._framed + self.base)
            self._answer(lag, StreamOutput("vad", self._framed, meta={"speech": speech}))

    def _probability(self, end: int) -> float:
        middle = end - FRAME_SAMPLES // 2
        return max([SILENCE, *(said.probability for said in self.script.utterances if said.start <= middle < said.end)])

    def _hear_words(self) -> None:
        """A partial hypothesis of the followed segment; like local agreement it leaves out the last word."""
        number = self.followed
        if number is None:
            return
        start = self.follows[number]
        if self.script.streaming:
            self._hear_chunks(number, start)
            return
        end = min(self.written, start + HEARD_SAMPLES)
        if end - start < FIRST_PARTIAL_SAMPLES or end - self.heard.get(number, 0) < PARTIAL_INTERVAL_SAMPLES:
            return
        self.heard[number] = end
        text = self.script.separator.join([text for text, _, until in self._words(start, end) if until <= end][:-1])
        if len(text) > len(self.partials.get(number, "")):
            self.partials[number] = text
            self._answer(self.script.partial_lag, StreamOutput("partial", end, meta={"segment": number, "text": text}))

    def _hear_chunks(self, number: int, start: int) -> None:
        for end in range(
            self.heard.get(number, start) + self.script.streaming, self.written + 1, self.script.streaming
        ):
            self.heard[number] = end
            words = [(text, until) for text, _, until in self._words(start, end) if until <= end]
            text = self.script.partial_text(self.script.separator.join(text for text, _ in words))
            meta = {"segment": number, "text": text, "blank": end - (words[-1][1] if words else start)}
            self._answer(self.script.partial_lag, StreamOutput("partial", end, meta=meta))

    def _words(self, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """Words whose middle lies in [start, end)."""
        for utterance in self.script.utterances:
            words = utterance.text.split()
            length = (utterance.end - utterance.start) / max(1, len(words))
            for index, word in enumerate(words):
                begin = utterance.start - self.base + index * length
                if start <= begin + length / 2 < end:
                    yield word, round(begin), round(begin + length)

    def _follow(self, push: Push) -> None:
        number, _, _ = push.meta["segment"], push.meta["language"], push.meta["prompt"]
        self._check_held(push.pts)
        self._withdraw(number)
        self.followed = number
        self.follows[number] = push.pts

    def _transcribe(self, push: Push) -> None:
        meta = push.meta
        number, start = meta["segment"], meta["start"]
        self._check_held(start)
        if push.pts > self._sent:
            raise Refused(f"transcribe up to {push.pts}, sent {self._sent}")
        if not 0 <= push.pts - start <= HEARD_SAMPLES:
            raise Refused(f"a segment of {push.pts - start} samples")
        self._withdraw(number)
        self.requests[number] = push
        if len(self.requests) > MAX_REQUESTS:
            raise Refused("too many requests")
        if self.followed == number:
            self.followed = None
        self._hear_requests()

    def _hear_requests(self) -> None:
        """A request that ends beyond the audio received waits for it."""
        for number, push in self.requests.items():
            if push.pts <= self.written and self._answered.get(number) != push.pts:
                self._answered[number] = push.pts
                self._answer(self.script.final_lag(number), StreamOutput("final", push.pts, meta=self._final(push)))

    def _withdraw(self, number: int) -> None:
        self.requests.pop(number, None)
        self._answered.pop(number, None)

    def _final(self, push: Push) -> dict[str, Any]:
        meta = push.meta
        words = list(self._words(meta["start"], push.pts))
        final = {
            "segment": meta["segment"],
            "text": self.script.final_text(self.script.separator.join(word for word, _, _ in words)),
            "language": meta["language"] or self.script.language,
            "tokens": [[f" {word}", -0.1] for word, _, _ in words],
            "no_speech": 0.01,
            "avg_logprob": -0.1,
        }
        return final | ({"words": [[*word, 0.9] for word in words]} if meta["words"] else {})

    def _check_held(self, pts: int) -> None:
        if not self.released <= pts <= self.written:
            raise Refused(f"{pts} is not held: released {self.released}, written {self.written}")

    def _answer(self, lag: int, output: StreamOutput) -> None:
        self._scheduled += 1
        heapq.heappush(self._due, (self._sent + lag, self._scheduled, output))

    def _wanted(self, output: StreamOutput) -> bool:
        """Whether the models would still say this; then they have said it."""
        match output.kind:
            case "vad":
                self.analysed = output.pts
            case "turn":
                if self.judgement is None or self.judgement.pts != output.pts:
                    return not self.script.withdraws
                self.judgement = None
            case "final":
                request = self.requests.get(output.meta["segment"])
                if request is None or request.pts != output.pts:
                    return not self.script.withdraws
                self._withdraw(output.meta["segment"])
        return True


def _without_data(push: Push) -> Push:
    return Push(push.kind, push.pts, meta=push.meta, slack_s=push.slack_s)


SomeEvent = TypeVar("SomeEvent", bound=Event)


class Story:
    """A pipeline that hears a script. Raises Refused where the models would fail."""

    def __init__(self, *utterances: Utterance, config: TranscribeConfig = LISTENING, **script: Any) -> None:
        self.script = replace(Script(utterances), **script)
        self.items = 0
        self.pipeline = Transcribe(TranscribeState(config), self.new_item)
        self.streams: list[Listen] = []
        self.effects: list[Effect] = []
        """Everything the pipeline asked for and told; pushes without their audio."""
        self.heard = 0
        self.perform(self.pipeline.start())

    @property
    def stream(self) -> Listen:
        """The current stream."""
        return self.streams[-1]

    def new_item(self) -> str:
        self.items += 1
        return f"item{self.items}"

    def hear(self, seconds: float, chunk_s: float = CHUNK_S) -> "Story":
        """Audio arrives, in chunks."""
        end = self.heard + samples(seconds)
        while self.heard < end:
            chunk = min(samples(chunk_s), end - self.heard)
            self.heard += chunk
            self.perform(self.pipeline.audio(bytes(2 * chunk)))
            self.listen()
        return self

    def commit(self, reference: str | None = None) -> "Story":
        self.perform(self.pipeline.commit(reference))
        return self

    def clear(self) -> "Story":
        self.perform(self.pipeline.clear())
        return self

    def configure(self, config: TranscribeConfig) -> "Story":
        self.perform(self.pipeline.configure(config))
        return self

    def lose(self, code: str = "worker_lost") -> "Story":
        """The stream's worker dies."""
        self.perform(self.pipeline.on_output(StreamOutput("lost", meta={"code": code, "message": "gone"})))
        return self

    def move(self) -> "Story":
        """Another process takes the pipeline over from its serialised state."""
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.pipeline.state), type=TranscribeState)
        self.pipeline = Transcribe(state, self.new_item)
        return self

    def settle(self) -> "Story":
        """Whatever lags catches up."""
        self.listen(settle=True)
        return self

    def listen(self, *, settle: bool = False) -> None:
        """Give the pipeline what is due."""
        while (output := self.stream.pull(settle=settle)) is not None:
            self.perform(self.pipeline.on_output(output))

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects in order."""
        for effect in effects:
            match effect:
                case OpenStream(service, _):
                    assert service == "listen"
                    self.streams.append(Listen(self.script, self.heard))
                case Push():
                    self.stream.push(effect)
            self.effects.append(_without_data(effect) if isinstance(effect, Push) else effect)

    @property
    def events(self) -> list[Event]:
        """What the pipeline told so far, guesses apart."""
        return [effect for effect in self.effects if not isinstance(effect, OpenStream | Push | Likely | Unlikely)]

    @property
    def guesses(self) -> list[Likely | Unlikely]:
        """What the pipeline guessed so far."""
        return [effect for effect in self.effects if isinstance(effect, Likely | Unlikely)]

    def told(self, kind: type[SomeEvent]) -> list[SomeEvent]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def deltas(self, item: str) -> str:
        """The item's deltas, joined."""
        return "".join(delta.text for delta in self.told(Delta) if delta.item == item)
