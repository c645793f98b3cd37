"""The replies of a conversation: one that the client knows of, or a guess, and some out of band.

Those of the conversation share one stream to the language model, which knows its history; the others have their own.
"""

from collections.abc import Callable, Iterable

import msgspec

from pipelines.conversation import Conversation, prompt
from pipelines.converse_events import Effect, Outcome, SpeechDelta, TextDelta, Traced
from pipelines.effects import Cancel, CloseStream, OnStream, OpenStream, StreamOutput
from pipelines.items import Item, Message, Part
from pipelines.reply import Guess, Reply, ReplyRequest, ReplyState
from pipelines.speak import SAMPLE_BYTES, SAMPLE_RATE_HZ
from pipelines.trace import Trace
from pipelines.transcribe_events import GaveUp

THINK = "think"
FAULTS = frozenset({"error", "lost", "refused"})
MAX_FAILURES = 3
"""Streams to the language model lost in a row, without a word between them, after which the conversation gives up."""
TURN_DETECTED = Outcome("cancelled", "turn_detected")
CLIENT_CANCELLED = Outcome("cancelled", "client_cancelled")


class RepliesState(msgspec.Struct):
    """All that is remembered of replies."""

    all: list[ReplyState] = []
    """Those in progress."""
    asked: int = 0
    """Requests so far on the shared stream."""
    turn: int = 0
    failures: int = 0
    playing_until: float = 0.0
    """When the client will have played what it got, if it plays at once."""


class Replies:
    """Methods return effects to carry out in order; `now` is in seconds."""

    def __init__(self, state: RepliesState, conversation: Conversation, new_item: Callable[[], str]) -> None:
        self.state = state
        self._conversation = conversation
        self._new_item = new_item

    @property
    def active(self) -> ReplyState | None:
        """The conversation's reply in progress of which the client knows."""
        known = (reply for reply in self.state.all if reply.request.in_conversation and reply.guess is None)
        return next(known, None)

    @property
    def out_of_band(self) -> list[ReplyState]:
        """Replies in progress that are no part of the conversation."""
        return [reply for reply in self.state.all if not reply.request.in_conversation]

    @property
    def items(self) -> set[str]:
        """Items that are being made."""
        return {item for reply in self.state.all for item in reply.items}

    def audible(self, now: float) -> bool:
        """Whether the client plays speech, or is about to."""
        active = self.active
        return now < self.state.playing_until or (active is not None and active.request.audio)

    def start(self) -> list[Effect]:
        """Reserve the shared stream."""
        return [OnStream(THINK, OpenStream(THINK))]

    def create(
        self,
        request: ReplyRequest,
        now: float,
        *,
        context: list[Item] | None = None,
        waiting: Iterable[str] = (),
        commits: int = 0,
        guess: Guess | None = None,
        trace: Trace | None = None,
    ) -> tuple[str, list[Effect]]:
        """Begin a reply; fields as in `ReplyState`. Returns its id."""
        name = self._new_item().replace("item_", "resp_", 1)
        think = THINK if request.in_conversation else f"{THINK}:{name}"
        state = ReplyState(name, request, think, guess, waiting=list(waiting), commits=commits, context=context)
        state.trace = trace or Trace()
        self.state.all.append(state)
        opened: list[Effect] = [] if think == THINK else [OnStream(think, OpenStream(THINK))]
        reply = self._reply(state)
        return name, [*opened, *self._emit(reply, reply.start(), now), *self._ask_if_ready(reply, now)]

    def reveal(self, guess: Guess, turn_end: float | None, now: float) -> list[Effect] | None:
        """The turn is over: tell the reply to this guess, if there is one."""
        for state in self.state.all:
            if state.guess == guess:
                state.trace.turn_end = turn_end
                reply = self._reply(state)
                return self._emit(reply, reply.reveal(now), now)
        return None

    def drop_guess(self) -> list[Effect]:
        """The speaker goes on, or what the guess replied to has changed."""
        effects: list[Effect] = []
        for state in [state for state in self.state.all if state.guess is not None]:
            effects += [*self._silence(state), *self._abandon(state)]
        return effects

    def end(self, state: ReplyState, outcome: Outcome, now: float) -> list[Effect]:
        """End a reply before its time."""
        reply = self._reply(state)
        return [*self._silence(state), *self._emit(reply, reply.end(outcome), now)]

    def commit_settled(self, item: str | None, now: float) -> list[Effect]:
        """A commit has taken effect; it made `item`, if anything."""
        effects: list[Effect] = []
        for state in [state for state in self.state.all if state.commits]:
            state.commits -= 1
            state.waiting += [item] if item is not None else []
            effects += self._ask_if_ready(self._reply(state), now)
        return effects

    def text_settled(self, item: str, now: float) -> list[Effect]:
        """The text of an item of speech is known, or will never be."""
        effects: list[Effect] = []
        for state in [state for state in self.state.all if item in state.waiting]:
            state.waiting.remove(item)
            effects += self._ask_if_ready(self._reply(state), now)
        return effects

    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what a stream produced."""
        if stream == THINK and output.kind in FAULTS:
            return self._think_lost(output, now)
        service, _, reply_id = stream.partition(":")
        for state in self.state.all:
            if reply_id == state.id or (stream == THINK == state.think and state.number == output.meta["number"]):
                return self._on_reply(state, service, output, now)
        return []

    def _on_reply(self, state: ReplyState, service: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what one of a reply's streams produced. A guess that is over is still there, and says nothing more."""
        reply = self._reply(state)
        if reply.over:
            return []
        if service == THINK and output.kind in FAULTS:
            return self.end(state, _failed(output), now)
        if service == THINK:
            self.state.failures = 0
            return self._emit(reply, reply.on_thought(output, now), now)
        thinking = state.thought is None
        effects = reply.on_speech(output, now)
        if thinking and reply.over:
            return [*self._silence(state), *self._emit(reply, effects, now)]
        return self._emit(reply, effects, now)

    def _think_lost(self, output: StreamOutput, now: float) -> list[Effect]:
        """What the language model was saying is lost; the next stream knows nothing of it."""
        state = self.state
        state.failures += 1
        if state.failures > MAX_FAILURES or output.kind == "refused":
            return [GaveUp(output.meta["code"], output.meta["message"])]
        state.asked = state.turn = 0
        effects = self.start()
        for lost in [reply for reply in state.all if reply.think == THINK and reply.asked and not reply.thought]:
            reply = self._reply(lost)
            effects += self._abandon(lost) if lost.guess else self._emit(reply, reply.end(_failed(output)), now)
        return effects

    def _ask_if_ready(self, reply: Reply, now: float) -> list[Effect]:
        state = reply.state
        if state.asked or state.waiting or state.commits:
            return []
        number = 0
        if state.think == THINK:
            number, self.state.asked = self.state.asked, self.state.asked + 1
        items = self._conversation.items if state.context is None else state.context
        if state.guess is not None:
            items = [*items, Message(state.guess.item, "user", [Part("input_audio", state.guess.text)])]
        return self._emit(reply, reply.ask(prompt(state.request.instructions, items), number, now), now)

    def _silence(self, state: ReplyState) -> list[Effect]:
        """Have the language model stop."""
        if state.think != THINK or not state.asked:
            return []
        self.state.turn += 1
        return [OnStream(THINK, Cancel(self.state.turn))]

    def _abandon(self, state: ReplyState) -> list[Effect]:
        self.state.all.remove(state)
        return [*self._reply(state).close_speech()]

    def _emit(self, reply: Reply, effects: Iterable[Effect], now: float) -> list[Effect]:
        """Note what the client gets to hear, and forget a reply that is over."""
        state, emitted = self.state, list[Effect]()
        for effect in effects:
            emitted.append(effect)
            if isinstance(effect, SpeechDelta) and reply.state.request.in_conversation:
                duration_s = len(effect.pcm) / SAMPLE_BYTES / SAMPLE_RATE_HZ
                state.playing_until = max(state.playing_until, now) + duration_s
            if isinstance(effect, SpeechDelta | TextDelta) and reply.state.trace.sent is None:
                reply.state.trace.sent = now
                emitted.append(Traced(reply.state.id, reply.state.trace))
        if reply.over and reply.state.guess is None and reply.state in state.all:
            state.all.remove(reply.state)
            if reply.state.think != THINK:
                emitted.append(OnStream(reply.state.think, CloseStream()))
        return emitted

    def _reply(self, state: ReplyState) -> Reply:
        return Reply(state, self._conversation, self._new_item)


def _failed(output: StreamOutput) -> Outcome:
    return Outcome("failed", None, output.meta["code"], output.meta["message"])
