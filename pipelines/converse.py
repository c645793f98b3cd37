"""A spoken conversation: listening, replying, interrupting.

Sans-I/O. A reply is begun as soon as the user pauses, in the dark; if the turn ends there it is told, else dropped.
Speech while the assistant is heard interrupts it: at its onset, or with semantic turn detection once it is sure to be
meant.
"""

from collections.abc import Callable, Iterable
from itertools import chain

from pipelines import transcribe_events
from pipelines.conversation import Conversation, ItemError, prompt
from pipelines.converse_events import (
    Effect,
    ItemsForgotten,
    Outcome,
    SpeechDelta,
    TextDelta,
    Traced,
)
from pipelines.converse_state import ConverseConfig, ConverseState
from pipelines.effects import Cancel, CloseStream, OnStream, OpenStream, Push, StreamOutput
from pipelines.items import Item, Message, Part
from pipelines.onset import Onset, has_words
from pipelines.replies import Guess, Reply, ReplyRequest, ReplyState
from pipelines.speak import SAMPLE_BYTES, SAMPLE_RATE_HZ
from pipelines.transcribe import Transcribe
from pipelines.transcribe_events import (
    Cleared,
    CommitRefused,
    Committed,
    Completed,
    Failed,
    GaveUp,
    Likely,
    SpeechStarted,
    SpeechStopped,
    Unlikely,
)
from pipelines.turns import SemanticVad

LISTEN, THINK = "listen", "think"
FAULTS = frozenset({"error", "lost", "refused"})
"""Kinds of output with which a stream ends of itself."""
MAX_OUT_OF_BAND = 4
MAX_FAILURES = 3
"""Streams to the language model lost in a row, without a word between them, after which the pipeline gives up."""
TURN_DETECTED = Outcome("cancelled", "turn_detected")
CLIENT_CANCELLED = Outcome("cancelled", "client_cancelled")


class ReplyError(Exception):
    """A reply cannot be created or cancelled now."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Converse:
    """The pipeline. Each method returns effects to carry out in order; `now` is in seconds since the epoch.

    `new_item` names items. `state` may be serialised at any time and given to another instance, which goes on from
    there.
    """

    def __init__(self, state: ConverseState, new_item: Callable[[], str]) -> None:
        self._state = state
        self._name = new_item
        self._listen = Transcribe(state.listen, self._new_item)

    @property
    def state(self) -> ConverseState:
        """All that is remembered."""
        self._state.listen = self._listen.state
        return self._state

    @property
    def conversation(self) -> Conversation:
        """The history."""
        return self._state.conversation

    def start(self) -> list[Effect]:
        """Reserve the streams that last as long as the session."""
        return [*self._heard(self._listen.start(), 0.0), OnStream(THINK, OpenStream(THINK))]

    # --- what the client asks for ---

    def audio(self, pcm: bytes) -> list[Effect]:
        """Take 16 kHz mono little-endian int16 audio."""
        return [OnStream(LISTEN, push) for push in self._listen.audio(pcm) if isinstance(push, Push)]

    def commit(self, now: float, reference: str | None = None) -> list[Effect]:
        """Close the item at the end of the audio received so far."""
        return self._heard(self._listen.commit(reference), now)

    def clear(self, now: float) -> list[Effect]:
        """Forget the audio received so far that no item was made of."""
        return self._heard(self._listen.clear(), now)

    def configure(self, config: ConverseConfig, now: float) -> list[Effect]:
        """Listen differently from the audio received so far on, and reply differently from now on."""
        before, self._state.config = self._state.config, config
        self._state.wanted = self._state.wanted and config.create_response
        effects = self._drop_guess() if before.reply != config.reply else []
        if before.listen != config.listen:
            effects += self._heard(self._listen.configure(config.listen), now)
        return effects

    def create_item(self, item: Item, after: str | None) -> tuple[str | None, list[Effect]]:
        """Add an item to the history. Returns the id of the one before it. Raises ItemError."""
        if any(item.id == heard.id for heard in self._listen.state.items):
            raise ItemError("item_exists", f"there is an item {item.id!r} already", "item.id")
        previous = self.conversation.add(item, after)
        return previous, [*self._drop_guess(), *self._trim()]

    def delete_item(self, item: str, now: float) -> list[Effect]:
        """Take an item out of the history; a turn that is taken out gets no reply. Raises ItemError."""
        if any(item in reply.items for reply in self._state.replies):
            raise ItemError("item_in_progress", "the item belongs to a response that is in progress", "item_id")
        self.conversation.delete(item)
        self._state.ended = [other for other in self._state.ended if other != item]
        return [*self._drop_guess(), *self._text_settled(item, now)]

    def truncate_item(self, item: str, content_index: int, audio_end_ms: int, now: float) -> list[Effect]:
        """Cut a spoken item to what was heard, and end the reply that is still making it: the client has stopped
        playback. Raises ItemError.
        """
        self.conversation.truncate(item, content_index, audio_end_ms)
        self._state.playing_until = now
        effects = self._drop_guess()
        for state in [state for state in self._state.replies if item in state.items]:
            effects += self._end(self._reply(state), CLIENT_CANCELLED, now)
        return effects

    def create_reply(
        self, request: ReplyRequest, now: float, context: list[Item] | None = None
    ) -> tuple[str, list[Effect]]:
        """Reply to the conversation, or to `context`. Returns the reply's id. Raises ReplyError."""
        if request.in_conversation and self._active() is not None:
            message = "a response is in progress; cancel it or wait for response.done"
            raise ReplyError("conversation_already_has_active_response", message)
        if not request.in_conversation and len(self._out_of_band()) >= MAX_OUT_OF_BAND:
            message = f"at most {MAX_OUT_OF_BAND} out-of-band responses can be in progress"
            raise ReplyError("too_many_responses", message, "response.conversation")
        effects: list[Effect] = []
        if request.in_conversation:
            self._state.wanted = False
            effects = self._drop_guess()
        state = self._new_reply(request)
        unheard = self._state.unheard
        state.waiting = list(unheard) if context is None else [item.id for item in context if item.id in unheard]
        if context is None:
            state.commits = sum(marker.action == "commit" for marker in self._listen.state.markers)
        state.context = context
        return state.id, [*effects, *self._begin(self._reply(state), now)]

    def cancel_reply(self, reply_id: str | None, now: float) -> list[Effect]:
        """End the reply in progress, or the one named. Raises ReplyError."""
        told = [state for state in self._state.replies if state.guess is None]
        named = [state for state in told if state.id == reply_id] if reply_id else [self._active()]
        if not named or named[0] is None:
            param = "response_id" if reply_id else None
            raise ReplyError("response_cancel_not_active", "there is no such response in progress", param)
        self._state.wanted = self._state.wanted and not named[0].request.in_conversation
        return self._end(self._reply(named[0]), CLIENT_CANCELLED, now)

    # --- what the streams produce ---

    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what a stream produced."""
        if stream == LISTEN:
            return self._on_listen(output, now)
        if stream == THINK and output.kind in FAULTS:
            return self._think_lost(output, now)
        service, _, reply_id = stream.partition(":")
        for state in self._state.replies:
            if reply_id == state.id or (stream == THINK == state.think and state.number == output.meta["number"]):
                return self._on_reply(state, service, output, now)
        return []

    def _on_reply(self, state: ReplyState, service: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what one of a reply's streams produced. A guess that is over is still there, and says nothing more."""
        reply = self._reply(state)
        if reply.over:
            return []
        if service == THINK and output.kind in FAULTS:
            return self._end(reply, _failed(output), now)
        if service == THINK:
            self._state.failures = 0
            return self._emit(reply, reply.on_thought(output, now), now)
        thinking = state.thought is None
        effects = reply.on_speech(output, now)
        if thinking and reply.over:
            return [*self._silence(state), *self._emit(reply, effects, now)]
        return self._emit(reply, effects, now)

    def _on_listen(self, output: StreamOutput, now: float) -> list[Effect]:
        onset = self._state.onset
        if output.kind == "vad":
            speech = self._listen.is_onset(output.meta["speech"])
            self._state.voice_at = now if speech else self._state.voice_at
            if onset is not None:
                onset.frame(speech)
        elif output.kind == "partial" and onset is not None and self._listen.is_of(onset.item, output.meta["segment"]):
            onset.text = output.meta["text"]
        effects = self._heard(self._listen.on_output(output), now)
        onset = self._state.onset
        return [*effects, *self._confirm_onset(now)] if onset is not None and onset.interrupts else effects

    def _heard(self, effects: Iterable[transcribe_events.Effect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in effects:
            if isinstance(effect, OpenStream | Push):
                carried.append(OnStream(LISTEN, effect))
            elif (onset := self._state.onset) is not None and getattr(effect, "item", None) == onset.item:
                carried += self._on_held(onset, effect, now)
            else:
                carried += self._on_event(effect, now)
        return carried

    def _on_event(self, event: transcribe_events.Event, now: float) -> list[Effect]:
        state = self._state
        match event:
            case SpeechStarted(item) if state.onset is not None:
                return [*self._confirm_onset(now), *self._on_event(event, now)]
            case SpeechStarted(item):
                if self._audible(now) and isinstance(state.config.listen.detection, SemanticVad):
                    state.onset = Onset(item, [event])
                    return []
                return [event, *self._interrupted(now)]
            case SpeechStopped(item):
                state.speaking, state.turn_end = False, now
                state.ended.append(item)
            case Committed(item):
                return [event, *self._committed(item, now)]
            case CommitRefused():
                return [event, *self._commit_settled(None, now)]
            case Likely(item, text):
                return self._guess(Guess(item, text), now)
            case Unlikely():
                return self._drop_guess()
            case Cleared():
                state.speaking = False
                return [event, *self._drop_guess(), *self._reply_if_wanted(now)]
            case Completed(item, text):
                self._set_text(item, text)
                return [event, *self._turn_over(item, text, now), *self._text_settled(item, now)]
            case Failed(item):
                self._set_text(item, "")
                state.speaking = False
                return [event, *self._turn_over(item, "", now), *self._text_settled(item, now)]
        return [event]

    # --- interruptions ---

    def _audible(self, now: float) -> bool:
        active = self._active()
        return now < self._state.playing_until or (active is not None and active.request.audio)

    def _on_held(self, onset: Onset, event: transcribe_events.Event, now: float) -> list[Effect]:
        """Something about speech of which nobody knows yet. What the client itself makes an item of is told at once,
        and so is speech after which more follows before its text is known.
        """
        onset.events.append(event)
        match event:
            case Committed() if not onset.stopped:
                return self._confirm_onset(now)
            case Likely(_, text) if has_words(text):
                return self._confirm_onset(now)
            case Completed(_, text):
                if has_words(text):
                    return self._confirm_onset(now)
                self._state.onset = None
            case Failed():
                return self._confirm_onset(now)
            case Cleared():
                self._state.onset = None
                return [Cleared()]
        return []

    def _confirm_onset(self, now: float) -> list[Effect]:
        onset, self._state.onset = self._state.onset, None
        assert onset is not None
        started, *later = onset.events
        return [started, *self._interrupted(now), *self._heard(later, now)]

    def _interrupted(self, now: float) -> list[Effect]:
        """The user speaks. A reply that waits for a commit was asked for later than that."""
        self._state.speaking = True
        effects, active = self._drop_guess(), self._active()
        if not self._state.config.interrupt_response:
            return effects
        self._state.playing_until = now
        self._state.wanted = False
        if active is None or active.commits:
            return effects
        return [*effects, *self._end(self._reply(active), TURN_DETECTED, now)]

    # --- the user's items ---

    def _committed(self, item: str, now: float) -> list[Effect]:
        self.conversation.add(Message(item, "user", [Part("input_audio")]))
        self._state.unheard.append(item)
        effects = self._trim()
        if item in self._state.ended:
            return effects
        self._state.speaking = False
        return [*effects, *self._drop_guess(), *self._commit_settled(item, now)]

    def _commit_settled(self, item: str | None, now: float) -> list[Effect]:
        """A commit has taken effect; it made `item`, if anything."""
        effects: list[Effect] = []
        for state in list(self._state.replies):
            if state.commits:
                state.commits -= 1
                state.waiting += [item] if item is not None else []
                effects += self._ask_if_ready(self._reply(state), now)
        return effects

    def _set_text(self, item_id: str, text: str) -> None:
        contexts = [reply.context for reply in self._state.replies if reply.context is not None]
        for item in chain(self.conversation.items, *contexts):
            if item.id == item_id and isinstance(item, Message):
                item.content[0].text = text

    def _text_settled(self, item: str, now: float) -> list[Effect]:
        """The text of an item of speech is known, or will never be."""
        state = self._state
        state.unheard = [other for other in state.unheard if other != item]
        effects: list[Effect] = []
        for reply in [reply for reply in state.replies if item in reply.waiting]:
            reply.waiting.remove(item)
            effects += self._ask_if_ready(self._reply(reply), now)
        return effects

    def _turn_over(self, item: str, text: str, now: float) -> list[Effect]:
        """Reply to a turn that was detected to be over."""
        state = self._state
        if item not in state.ended:
            return []
        state.ended.remove(item)
        guessed = next((reply for reply in state.replies if reply.guess is not None), None)
        if guessed is not None and guessed.guess == Guess(item, text) and state.config.create_response:
            guessed.trace.turn_end = state.turn_end
            state.wanted = False
            reply = self._reply(guessed)
            return self._emit(reply, reply.reveal(now), now)
        effects, active = self._drop_guess(), self._active()
        if text.strip() and state.config.create_response and (active is None or active.asked):
            state.wanted = True
        return [*effects, *self._reply_if_wanted(now)]

    # --- replies ---

    def _reply_if_wanted(self, now: float) -> list[Effect]:
        """Reply to turns without a reply, once nobody speaks."""
        if not self._state.wanted or self._state.speaking or self._active() is not None:
            return []
        return self._reply_to_turn(now)

    def _guess(self, guess: Guess, now: float) -> list[Effect]:
        """Begin to reply to a turn that may be over."""
        state = self._state
        if not guess.text.strip() or not state.config.create_response or self._active() or state.unheard:
            return []
        effects = self._drop_guess()
        reply_state = self._new_reply(state.config.reply)
        reply_state.guess = guess
        reply_state.trace.speech_end, reply_state.trace.transcript = state.voice_at, now
        reply = self._reply(reply_state)
        return [*effects, *self._begin(reply, now)]

    def _drop_guess(self) -> list[Effect]:
        """The speaker goes on, or what the guess replied to has changed."""
        effects: list[Effect] = []
        for state in [state for state in self._state.replies if state.guess is not None]:
            effects += [*self._silence(state), *self._abandon(state)]
        return effects

    def _abandon(self, state: ReplyState) -> list[Effect]:
        self._state.replies.remove(state)
        return [*self._reply(state).close_speech()]

    def _silence(self, state: ReplyState) -> list[Effect]:
        """Have the language model stop."""
        if state.think != THINK or not state.asked:
            return []
        self._state.turn += 1
        return [OnStream(THINK, Cancel(self._state.turn))]

    def _reply_to_turn(self, now: float) -> list[Effect]:
        self._state.wanted = False
        state = self._new_reply(self._state.config.reply)
        state.waiting = list(self._state.unheard)
        trace = state.trace
        trace.speech_end, trace.turn_end, trace.transcript = self._state.voice_at, self._state.turn_end, now
        return self._begin(self._reply(state), now)

    def _new_reply(self, request: ReplyRequest) -> ReplyState:
        name = self._new_item().replace("item_", "resp_", 1)
        state = ReplyState(name, request, THINK if request.in_conversation else f"{THINK}:{name}")
        self._state.replies.append(state)
        return state

    def _begin(self, reply: Reply, now: float) -> list[Effect]:
        opened: list[Effect] = []
        if reply.state.think != THINK:
            opened = [OnStream(reply.state.think, OpenStream(THINK))]
        return [*opened, *self._emit(reply, reply.start(), now), *self._ask_if_ready(reply, now)]

    def _ask_if_ready(self, reply: Reply, now: float) -> list[Effect]:
        state = reply.state
        if state.asked or state.waiting or state.commits:
            return []
        number = 0
        if state.think == THINK:
            number, self._state.asked = self._state.asked, self._state.asked + 1
        items = self.conversation.items if state.context is None else state.context
        if state.guess is not None:
            items = [*items, Message(state.guess.item, "user", [Part("input_audio", state.guess.text)])]
        return self._emit(reply, reply.ask(prompt(state.request.instructions, items), number, now), now)

    def _end(self, reply: Reply, outcome: Outcome, now: float) -> list[Effect]:
        """End a reply before its time."""
        return [*self._silence(reply.state), *self._emit(reply, reply.end(outcome), now)]

    def _emit(self, reply: Reply, effects: Iterable[Effect], now: float) -> list[Effect]:
        """Note what the client gets to hear; a reply that is over makes room for the next."""
        state, emitted = self._state, list[Effect]()
        for effect in effects:
            emitted.append(effect)
            if isinstance(effect, SpeechDelta) and reply.state.request.in_conversation:
                duration_s = len(effect.pcm) / SAMPLE_BYTES / SAMPLE_RATE_HZ
                state.playing_until = max(state.playing_until, now) + duration_s
            if isinstance(effect, SpeechDelta | TextDelta) and reply.state.trace.sent is None:
                reply.state.trace.sent = now
                emitted.append(Traced(reply.state.id, reply.state.trace))
        if reply.over and reply.state.guess is None and reply.state in state.replies:
            emitted += self._retire(reply, now)
        return emitted

    def _retire(self, reply: Reply, now: float) -> list[Effect]:
        state = self._state
        state.replies.remove(reply.state)
        effects: list[Effect] = self._trim()
        if reply.state.think != THINK:
            effects.append(OnStream(reply.state.think, CloseStream()))
        return [*effects, *self._reply_if_wanted(now)]

    def _active(self) -> ReplyState | None:
        """The conversation's reply in progress of which the client knows."""
        known = (reply for reply in self._state.replies if reply.request.in_conversation and reply.guess is None)
        return next(known, None)

    def _out_of_band(self) -> list[ReplyState]:
        return [reply for reply in self._state.replies if not reply.request.in_conversation]

    def _reply(self, state: ReplyState) -> Reply:
        return Reply(state, self.conversation, self._new_item)

    def _new_item(self) -> str:
        """A name for an item, which may not be one that the client has given."""
        taken = {item.id for item in self.conversation.items}
        while (name := self._name()) in taken:
            pass
        return name

    # --- trouble ---

    def _think_lost(self, output: StreamOutput, now: float) -> list[Effect]:
        """What the language model was saying is lost; the next stream knows nothing of it."""
        state = self._state
        state.failures += 1
        if state.failures > MAX_FAILURES or output.kind == "refused":
            return [GaveUp(output.meta["code"], output.meta["message"])]
        state.asked = state.turn = 0
        effects: list[Effect] = [OnStream(THINK, OpenStream(THINK))]
        for lost in [reply for reply in state.replies if reply.think == THINK and reply.asked and not reply.thought]:
            reply = self._reply(lost)
            effects += self._abandon(lost) if lost.guess else self._emit(reply, reply.end(_failed(output)), now)
        return effects

    def _trim(self) -> list[Effect]:
        forgotten = self.conversation.trim({item for reply in self._state.replies for item in reply.items})
        return [ItemsForgotten(forgotten)] if forgotten else []


def _failed(output: StreamOutput) -> Outcome:
    return Outcome("failed", None, output.meta["code"], output.meta["message"])
