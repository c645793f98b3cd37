"""One reply: a prompt goes to the language model, its text to the speaker, and both come back as items."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from pipelines import speak
from pipelines.conversation import Conversation, Prompt
from pipelines.converse_events import (
    CallDelta,
    ItemFinished,
    ItemStarted,
    Outcome,
    ReplyEvent,
    ReplyFinished,
    ReplyStarted,
    SpeechDelta,
    TextDelta,
    Usage,
)
from pipelines.effects import CloseStream, OnStream, OpenStream, Push, StreamOutput
from pipelines.items import FunctionCall, Item, Message, Part, PartType
from pipelines.speak import SAMPLE_BYTES, SAMPLE_RATE_HZ, Speak, SpeakState
from pipelines.trace import Trace

TOKEN_SLACK_S = 0.05
"""How long the next token of someone who waits for an answer may wait."""
SPEECH_SLACK_S = 0.3
"""How long the first clause may wait; a clause takes about as long to make."""

Effect = OnStream | ReplyEvent


class ReplyRequest(msgspec.Struct, frozen=True):
    """What reply is wanted. `tools` and `tool_choice` as in chat completions; `metadata` is only kept."""

    instructions: str = ""
    audio: bool = True
    voice: str = ""
    speed: float = 1.0
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    max_tokens: int | None = None
    truncation: dict[str, Any] | None = None
    in_conversation: bool = True
    metadata: dict[str, str] | None = None


class Guess(msgspec.Struct, frozen=True):
    """The speaker may have ended the item, and said `text`."""

    item: str
    text: str


class ReplyState(msgspec.Struct):
    """All that is remembered of a reply."""

    id: str
    request: ReplyRequest
    think: str
    """Name of its stream to the language model."""
    guess: Guess | None = None
    """Until it is right, the client learns nothing of the reply."""
    number: int = -1
    """Its number among the requests of the stream, once it was asked."""
    waiting: list[str] = []
    """Items of speech whose text must be known first."""
    commits: int = 0
    """Commits, asked for before it, that must take effect first."""
    context: list[Item] | None = None
    """Items to answer to, instead of the conversation."""
    own: Conversation = msgspec.field(default_factory=Conversation)
    """Its items while they are not of the conversation."""
    items: list[str] = []
    message: str | None = None
    """The message that text goes to."""
    call: str | None = None
    """The function call that arguments go to."""
    thought: Outcome | None = None
    """How the language model ended."""
    usage: Usage | None = None
    speech: SpeakState | None = None
    held: list[ReplyEvent] = []
    trace: Trace = msgspec.field(default_factory=Trace)

    @property
    def asked(self) -> bool:
        """Whether the language model has the prompt."""
        return self.number >= 0


class Reply:
    """A reply in progress. Methods return effects to carry out in order; `now` is in seconds."""

    def __init__(self, state: ReplyState, conversation: Conversation, new_item: Callable[[], str]) -> None:
        self.state = state
        self._conversation = conversation
        self._new_item = new_item

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.state.thought is not None and self.state.speech is None

    @property
    def speak_stream(self) -> str:
        """Name of its stream to the speaker."""
        return f"speak:{self.state.id}"

    def start(self) -> list[Effect]:
        """Say that there is a reply."""
        return self._tell(ReplyStarted(self.state.id))

    def ask(self, prompt: Prompt, number: int, now: float) -> list[Effect]:
        """Give the language model its prompt."""
        state, request = self.state, self.state.request
        state.number = number
        state.trace.asked = now
        meta: dict[str, Any] = {"messages": prompt, "max_tokens": request.max_tokens}
        if request.tools:
            meta |= {"tools": request.tools, "tool_choice": request.tool_choice}
        if request.truncation is not None:
            meta["truncation"] = request.truncation
        effects: list[Effect] = [OnStream(state.think, Push("generate", meta=meta, slack_s=TOKEN_SLACK_S))]
        if request.audio:
            state.speech = SpeakState(request.voice, request.speed, SPEECH_SLACK_S)
            effects += self._carry_out(Speak(state.speech).start(), now)
        return effects

    def on_thought(self, output: StreamOutput, now: float) -> list[Effect]:
        """Take what the language model produced."""
        meta = output.meta
        if self.state.trace.first_token is None:
            self.state.trace.first_token = now
        match output.kind:
            case "token":
                return self._say(meta["text"], now)
            case "call":
                return self._call(meta["name"], meta["arguments"])
            case "done":
                return [*self._say(meta["text"], now), *self._thought(meta, now)]
            case kind:
                raise ValueError(f"a think stream has no output {kind!r}")

    def on_speech(self, output: StreamOutput, now: float) -> list[Effect]:
        """Take what the speaker produced."""
        if self.state.speech is None:
            return []
        return self._carry_out(Speak(self.state.speech).on_output(output, now), now)

    def end(self, outcome: Outcome) -> list[Effect]:
        """End it as it is."""
        self.state.thought = outcome
        return [*self.close_speech(), *self._finish()]

    def reveal(self, now: float) -> list[Effect]:
        """The guess was right: tell all that was held back, and join the conversation."""
        state = self.state
        state.guess = None
        held, state.held = state.held, []
        effects: list[Effect] = []
        own, state.own = state.own, Conversation()
        for event in held:
            if isinstance(event, ItemStarted):
                item = own.find(event.item.id)
                event = msgspec.structs.replace(event, previous=self._store.add(item))
            effects.append(event)
        if state.speech is not None:
            state.speech.playing_until = now + state.speech.samples / SAMPLE_RATE_HZ
        return effects

    # --- the language model ---

    def _say(self, text: str, now: float) -> list[Effect]:
        state = self.state
        if state.message is None:
            text = text.lstrip()
        if not text:
            return []
        effects: list[Effect] = []
        if state.message is None:
            kind: PartType = "output_audio" if state.speech is not None else "output_text"
            message = Message(self._new_item(), "assistant", [Part(kind, "")], "in_progress")
            effects += self._add(message)
            state.message = message.id
        if state.speech is not None:
            return [*effects, *self._carry_out(Speak(state.speech).text(text), now)]
        part = self._part()
        part.text = (part.text or "") + text
        return [*effects, *self._tell(TextDelta(state.id, self._index(state.message), state.message, text))]

    def _call(self, name: str | None, arguments: str) -> list[Effect]:
        state, effects = self.state, list[Effect]()
        if name is not None:
            effects += self._finish_call()
            item_id = self._new_item()
            call = FunctionCall(item_id, item_id.replace("item_", "call_", 1), name, "", "in_progress")
            effects += self._add(call)
            state.call = item_id
        assert state.call is not None
        item = self._store.find(state.call)
        assert isinstance(item, FunctionCall)
        if arguments:
            item.arguments += arguments
            delta = CallDelta(state.id, self._index(item.id), item.id, item.call_id, arguments)
            effects += self._tell(delta)
        return effects

    def _thought(self, meta: dict[str, Any], now: float) -> list[Effect]:
        usage = meta.get("usage")
        if usage:
            self.state.usage = Usage(usage["prompt_tokens"], usage.get("cached_tokens", 0), usage["completion_tokens"])
        match meta["reason"]:
            case "failed":
                error = meta["error"]
                return self.end(Outcome("failed", None, error["code"], error["message"]))
            case "length":
                self.state.thought = Outcome("incomplete", "max_output_tokens")
            case _:
                self.state.thought = Outcome("completed")
        effects = self._finish_call()
        if self.state.speech is None or self.state.message is None:
            return [*effects, *self.close_speech(), *self._finish()]
        return [*effects, *self._carry_out(Speak(self.state.speech).finish(), now)]

    # --- the speaker ---

    def _carry_out(self, effects: list[speak.Effect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in effects:
            match effect:
                case OpenStream() | Push():
                    carried.append(OnStream(self.speak_stream, effect))
                case speak.Spoken():
                    carried += self._spoken(effect, now)
                case speak.Finished(text):
                    carried += self._spoken(speak.Spoken(text, b"", []), now) if text else []
                    carried += self.close_speech()
                    carried += self._finish() if self.state.thought is not None else []
                case speak.Failed(code, message, _):
                    carried += self.end(Outcome("failed", None, code, message))
        return carried

    def _spoken(self, spoken: speak.Spoken, now: float) -> list[Effect]:
        state = self.state
        if state.message is None:
            return []
        if state.trace.first_speech is None:
            state.trace.first_speech = now
        part = self._part()
        part.text = (part.text or "") + spoken.text
        part.samples += len(spoken.pcm) // SAMPLE_BYTES
        part.marks.extend(spoken.marks)
        delta = SpeechDelta(state.id, self._index(state.message), state.message, spoken.text, spoken.pcm)
        return self._tell(delta)

    def close_speech(self) -> list[OnStream]:
        """Stop speaking."""
        if self.state.speech is None:
            return []
        self.state.speech = None
        return [OnStream(self.speak_stream, CloseStream())]

    # --- items ---

    def _finish(self) -> list[Effect]:
        state, outcome = self.state, self.state.thought
        assert outcome is not None
        effects = self._finish_call()
        if state.message is not None:
            item = self._store.find(state.message)
            item.status = "completed" if outcome.status == "completed" else "incomplete"
            effects += self._tell(ItemFinished(state.id, self._index(item.id), item))
            state.message = None
        items = [self._store.find(item) for item in state.items]
        return [*effects, *self._tell(ReplyFinished(state.id, outcome, items, state.usage))]

    def _finish_call(self) -> list[Effect]:
        state = self.state
        if state.call is None:
            return []
        item = self._store.find(state.call)
        state.call = None
        cut_short = state.thought is not None and state.thought.status != "completed"
        item.status = "incomplete" if cut_short else "completed"
        return self._tell(ItemFinished(state.id, self._index(item.id), item))

    def _add(self, item: Item) -> list[Effect]:
        state = self.state
        previous = self._store.add(item)
        state.items.append(item.id)
        return self._tell(ItemStarted(state.id, len(state.items) - 1, deepcopy(item), previous))

    def _part(self) -> Part:
        assert self.state.message is not None
        item = self._store.find(self.state.message)
        assert isinstance(item, Message)
        return item.content[0]

    def _index(self, item: str) -> int:
        return self.state.items.index(item)

    @property
    def _store(self) -> Conversation:
        joined = self.state.request.in_conversation and self.state.guess is None
        return self._conversation if joined else self.state.own

    def _tell(self, event: ReplyEvent) -> list[Effect]:
        if self.state.guess is not None:
            self.state.held.append(event)
            return []
        return [event]
