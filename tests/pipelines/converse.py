"""A driver that lets the conversation pipeline hear a script, think and speak: tests read as stories.

Time is that of the audio heard; it also passes in silence (`wait`). Every stream is scripted.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from pipelines.conversation import Prompt
from pipelines.converse import Converse
from pipelines.converse_events import (
    CallDelta,
    Effect,
    Event,
    ItemFinished,
    ItemStarted,
    ReplyFinished,
    ReplyStarted,
    SpeechDelta,
    TextDelta,
    Traced,
)
from pipelines.converse_state import ConverseConfig, ConverseState
from pipelines.effects import OnStream
from pipelines.items import FunctionCall, Item, Message, Part
from pipelines.reply import ReplyRequest
from pipelines.transcribe_events import Delta
from pipelines.transcribe_state import TranscribeConfig, TranscribeState
from pipelines.turns import SemanticVad
from tests.pipelines.listen import Script, Utterance, samples
from tests.pipelines.speak import Speak, Voice
from tests.pipelines.streams import Stream, Streams
from tests.pipelines.think import Answer, Brain, Think

BEGAN = 1_700_000_000.0
TICK_S = 0.02
REQUEST = ReplyRequest(instructions="Be brief.", voice="alloy")
TALKING = ConverseConfig(reply=REQUEST)
TEXT = ConverseConfig(reply=msgspec.structs.replace(REQUEST, audio=False))
SEMANTIC = ConverseConfig(TranscribeConfig(SemanticVad()), REQUEST)
MANUAL = ConverseConfig(TranscribeConfig(detection=None), REQUEST)

SomeEvent = TypeVar("SomeEvent", bound=Event)


def changed(config: ConverseConfig = TALKING, *, listen: Any = None, **fields: Any) -> ConverseConfig:
    """A configuration with other fields of its own or of its reply."""
    own = {name: fields.pop(name) for name in ("create_response", "interrupt_response") if name in fields}
    reply = msgspec.structs.replace(config.reply, **fields)
    return msgspec.structs.replace(config, listen=listen or config.listen, reply=reply, **own)


def written(text: str, name: str = "note", role: Any = "user") -> Message:
    """A message in text."""
    return Message(name, role, [Part("output_text" if role == "assistant" else "input_text", text)])


class Story:
    """A pipeline amid scripted streams. Raises Refused where real ones would fail.

    `moving`: before whatever happens, another process takes it over from its serialised state.
    """

    def __init__(
        self,
        *utterances: Utterance,
        config: ConverseConfig = TALKING,
        brain: Brain | None = None,
        voice: Voice | None = None,
        moving: bool = False,
        **script: Any,
    ) -> None:
        script.setdefault("finished", lambda pts: 1.0)
        self._scripted = Streams(replace(Script(utterances), **script), brain or Brain(), voice or Voice())
        self.moving = moving
        self.now = BEGAN
        self.heard = 0
        self.items = 0
        self.pipeline = Converse(ConverseState(config, TranscribeState(config.listen)), self.new_item)
        self.effects: list[Effect] = []
        """Everything the pipeline asked for and told."""
        self.times: list[float] = []
        """When it did."""
        self.perform(self.pipeline.start())

    # --- what happens ---

    def hear(self, seconds: float) -> "Story":
        """Audio arrives as it is spoken."""
        end = self.heard + samples(seconds)
        while self.heard < end:
            chunk = min(samples(TICK_S), end - self.heard)
            self.heard += chunk
            self.now += chunk / samples(1)
            self.perform(self._pipeline().audio(bytes(2 * chunk)))
            self.run()
        return self

    def hear_until(self, kind: type[Event], limit_s: float = 30) -> "Story":
        """Audio arrives until one more event of a kind is told."""
        return self._until(kind, lambda: self.hear(TICK_S), limit_s)

    def wait(self, seconds: float) -> "Story":
        """Time passes without audio."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += TICK_S
            self.run()
        return self

    def wait_until(self, kind: type[Event], limit_s: float = 30) -> "Story":
        """Time passes until one more event of a kind is told."""
        return self._until(kind, lambda: self.wait(TICK_S), limit_s)

    def settle(self) -> "Story":
        """Whatever listening lags behind with catches up."""
        self.run(settle=True)
        return self

    def commit(self) -> "Story":
        self.perform(self._pipeline().commit(self.now))
        return self.run()

    def clear(self) -> "Story":
        self.perform(self._pipeline().clear(self.now))
        return self.run()

    def configure(self, config: ConverseConfig) -> "Story":
        self.perform(self._pipeline().configure(config, self.now))
        return self.run()

    def create_item(self, item: Item, after: str | None = None) -> str | None:
        previous, effects = self._pipeline().create_item(item, after)
        self.perform(effects)
        self.run()
        return previous

    def delete_item(self, item: str) -> "Story":
        self.perform(self._pipeline().delete_item(item, self.now))
        return self.run()

    def truncate_item(self, item: str, audio_end_ms: int, content_index: int = 0) -> "Story":
        self.perform(self._pipeline().truncate_item(item, content_index, audio_end_ms, self.now))
        return self.run()

    def reply(self, context: list[Item] | None = None, **fields: Any) -> str:
        """Ask for a reply."""
        request = msgspec.structs.replace(self.pipeline.state.config.reply, **fields)
        name, effects = self._pipeline().create_reply(request, self.now, context)
        self.perform(effects)
        self.run()
        return name

    def cancel(self, reply: str | None = None) -> "Story":
        self.perform(self._pipeline().cancel_reply(reply, self.now))
        return self.run()

    def lose(self, name: str, kind: str = "lost", code: str = "worker_lost") -> "Story":
        """A stream ends of itself."""
        self.perform(self._pipeline().on_output(name, self._scripted.lose(name, kind, code), self.now))
        return self.run()

    # --- the machinery ---

    def new_item(self) -> str:
        self.items += 1
        return f"item_{self.items}"

    def _pipeline(self) -> Converse:
        if self.moving:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.pipeline.state), type=ConverseState)
            self.pipeline = Converse(state, self.new_item)
        return self.pipeline

    def _until(self, kind: type[Event], step: Any, limit_s: float) -> "Story":
        before, limit = len(self.told(kind)), self.now + limit_s
        while len(self.told(kind)) == before:
            assert self.now < limit, f"no {kind.__name__} within {limit_s} s"
            step()
        return self

    def run(self, *, settle: bool = False) -> "Story":
        """Give the pipeline what is due, until nothing is."""
        while due := self._scripted.pull(self.now, settle=settle):
            name, output = due
            self.perform(self._pipeline().on_output(name, output, self.now))
        return self

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects in order."""
        for effect in effects:
            self.effects.append(deepcopy(effect))
            self.times.append(self.now)
            if isinstance(effect, OnStream):
                self._scripted.act(effect, self.now, self.heard)

    # --- what came of it ---

    @property
    def streams(self) -> dict[str, Stream]:
        """Streams that are open, by name."""
        return self._scripted.open

    @property
    def opened(self) -> list[tuple[str, Stream]]:
        """Every stream that was ever open, by name."""
        return self._scripted.opened

    def refuse(self, *services: str) -> None:
        """Services have no free slot from now on."""
        self._scripted.refusing = set(services)

    @property
    def events(self) -> list[Event]:
        """What the pipeline told so far."""
        return [effect for effect in self.effects if not isinstance(effect, OnStream)]

    def told(self, kind: type[SomeEvent]) -> list[SomeEvent]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[type[Event]]:
        """Kinds of events so far, in order; deltas and traces left out."""
        deltas = Delta, TextDelta, SpeechDelta, CallDelta, Traced
        return [type(event) for event in self.events if not isinstance(event, deltas)]

    def when(self, kind: type[Event], number: int = 0) -> float:
        """When an event of a kind was told, in seconds since the story began."""
        times = [at for effect, at in zip(self.effects, self.times, strict=True) if isinstance(effect, kind)]
        return times[number] - BEGAN

    def spoken(self, reply: str) -> str:
        """Text of the speech of a reply."""
        return "".join(delta.text for delta in self.told(SpeechDelta) if delta.reply == reply)

    def pcm(self, reply: str) -> bytes:
        """Speech of a reply."""
        return b"".join(delta.pcm for delta in self.told(SpeechDelta) if delta.reply == reply)

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """Status and reason of every reply that is over."""
        return [(event.outcome.status, event.outcome.reason) for event in self.told(ReplyFinished)]

    @property
    def think(self) -> Think:
        """The conversation's stream to the language model."""
        stream = self.streams["think"]
        assert isinstance(stream, Think)
        return stream

    @property
    def prompts(self) -> list[Prompt]:
        """Prompts of the conversation's replies, guesses included, on all streams."""
        return [
            request["messages"]
            for name, stream in self.opened
            if name == "think" and isinstance(stream, Think)
            for request in stream.requests
        ]

    def speakers(self, reply: str) -> list[Speak]:
        """Streams to the speaker that a reply had."""
        return [stream for name, stream in self.opened if name == f"speak:{reply}" and isinstance(stream, Speak)]

    def history(self) -> list[tuple[str, str]]:
        """Role and text of every message of the conversation."""
        items = self.pipeline.conversation.items
        return [(item.role, item.content[0].text or "") for item in items if isinstance(item, Message)]


def check_replies(story: Story) -> None:
    """Every reply is begun and ended once, every item within it too, and nothing follows an end."""
    started: list[str] = []
    over: set[str] = set()
    items: dict[str, str] = {}
    counts: dict[str, int] = {}
    texts: dict[str, str] = {}
    for event in story.events:
        match event:
            case ReplyStarted(reply):
                assert reply not in started
                started.append(reply)
            case ItemStarted(reply, index, item):
                assert reply in started
                assert reply not in over
                assert item.id not in items
                assert index == counts.get(reply, 0)
                counts[reply] = index + 1
                items[item.id] = reply
            case TextDelta(reply, index, item, text) | SpeechDelta(reply, index, item, text):
                assert items[item] == reply
                texts[item] = texts.get(item, "") + text
            case CallDelta(reply, index, item, _, arguments):
                assert items[item] == reply
                texts[item] = texts.get(item, "") + arguments
            case ItemFinished(reply, _, item):
                assert items[item.id] == reply
                assert item.status in ("completed", "incomplete")
                assert texts.pop(item.id, "").startswith(_text(item))
                items[item.id] = "finished"
            case ReplyFinished(reply, _, finished):
                assert reply in started
                assert reply not in over
                assert reply not in items.values(), "an item of it is not finished"
                assert all(item.status != "in_progress" for item in finished)
                over.add(reply)
    active = {state.id for state in story.pipeline.state.replies.all if state.guess is None}
    assert set(started) - over == active
    owners = {state.id for state in story.pipeline.state.replies.all}
    assert {name.partition(":")[2] for name in story.streams if ":" in name} <= owners


def _text(item: Item) -> str:
    """What an item of a reply says or asks for."""
    match item:
        case Message(content=[part]):
            return part.text or ""
        case FunctionCall(arguments=arguments):
            return arguments
    raise AssertionError(f"no reply makes {item}")


def answers(*texts: Answer, **fields: Any) -> Brain:
    """A model that says one thing after another, the last again and again, whatever it is asked."""
    waiting = list(texts)
    return Brain(lambda messages: waiting.pop(0) if len(waiting) > 1 else waiting[0], **fields)
