"""A spoken conversation: listening, replying, interrupting.

Sans-I/O. A reply is begun as soon as the user pauses, in the dark; if the turn ends there it is told, else dropped.
Speech while the assistant is heard interrupts it: at its onset, or with semantic turn detection once it is sure to be
meant.
"""

from collections.abc import Callable, Iterable
from itertools import chain

from pipelines import transcribe_events
from pipelines.conversation import Conversation, ItemError
from pipelines.converse_events import Effect, ItemsForgotten
from pipelines.converse_state import ConverseConfig, ConverseState
from pipelines.effects import OnStream, OpenStream, Push, StreamOutput
from pipelines.items import Item, Message, Part
from pipelines.onset import Onset, has_words
from pipelines.replies import CLIENT_CANCELLED, TURN_DETECTED, Replies
from pipelines.reply import Guess, ReplyRequest
from pipelines.trace import Trace
from pipelines.transcribe import Transcribe
from pipelines.transcribe_events import (
    Cleared,
    CommitRefused,
    Committed,
    Completed,
    Failed,
    Likely,
    SpeechStarted,
    SpeechStopped,
    Unlikely,
)
from pipelines.turns import SemanticVad

LISTEN = "listen"
MAX_OUT_OF_BAND = 4


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
        self._replies = Replies(state.replies, state.conversation, self._new_item)

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
        return [*self._heard(self._listen.start(), 0.0), *self._replies.start()]

    # --- what the client asks for ---

    def audio(self, pcm: bytes) -> list[Effect]:
        """Take 16 kHz mono little-endian int16 audio."""
        return [OnStream(LISTEN, push) for push in self._listen.audio(pcm) if isinstance(push, Push)]

    def commit(self, now: float, reference: str | None = None) -> list[Effect]:
        """Close the item at the end of the audio received so far."""
        return self._settled(self._heard(self._listen.commit(reference), now), now)

    def clear(self, now: float) -> list[Effect]:
        """Forget the audio received so far that no item was made of."""
        return self._settled(self._heard(self._listen.clear(), now), now)

    def configure(self, config: ConverseConfig, now: float) -> list[Effect]:
        """Listen differently from the audio received so far on, and reply differently from now on."""
        before, self._state.config = self._state.config, config
        self._state.wanted = self._state.wanted and config.create_response
        effects = self._replies.drop_guess() if before.reply != config.reply else []
        if before.listen != config.listen:
            effects += self._heard(self._listen.configure(config.listen), now)
        return self._settled(effects, now)

    def create_item(self, item: Item, after: str | None) -> tuple[str | None, list[Effect]]:
        """Add an item to the history. Returns the id of the one before it. Raises ItemError."""
        if any(item.id == heard.id for heard in self._listen.state.items):
            raise ItemError("item_exists", f"there is an item {item.id!r} already", "item.id")
        previous = self.conversation.add(item, after)
        return previous, [*self._replies.drop_guess(), *self._trim()]

    def delete_item(self, item: str, now: float) -> list[Effect]:
        """Take an item out of the history; a turn that is taken out gets no reply. Raises ItemError."""
        if item in self._replies.items:
            raise ItemError("item_in_progress", "the item belongs to a response that is in progress", "item_id")
        self.conversation.delete(item)
        self._state.ended = [other for other in self._state.ended if other != item]
        return self._settled([*self._replies.drop_guess(), *self._text_settled(item, now)], now)

    def truncate_item(self, item: str, content_index: int, audio_end_ms: int, now: float) -> list[Effect]:
        """Cut a spoken item to what was heard, and end the reply that is still making it: the client has stopped
        playback. Raises ItemError.
        """
        self.conversation.truncate(item, content_index, audio_end_ms)
        self._replies.state.playing_until = now
        effects = self._replies.drop_guess()
        for state in [state for state in self._replies.state.all if item in state.items]:
            effects += self._replies.end(state, CLIENT_CANCELLED, now)
        return self._settled(effects, now)

    def create_reply(
        self, request: ReplyRequest, now: float, context: list[Item] | None = None
    ) -> tuple[str, list[Effect]]:
        """Reply to the conversation, or to `context`. Returns the reply's id. Raises ReplyError."""
        if request.in_conversation and self._replies.active is not None:
            message = "a response is in progress; cancel it or wait for response.done"
            raise ReplyError("conversation_already_has_active_response", message)
        if not request.in_conversation and len(self._replies.out_of_band) >= MAX_OUT_OF_BAND:
            message = f"at most {MAX_OUT_OF_BAND} out-of-band responses can be in progress"
            raise ReplyError("too_many_responses", message, "response.conversation")
        effects: list[Effect] = []
        if request.in_conversation:
            self._state.wanted = False
            effects = self._replies.drop_guess()
        unheard, commits = self._state.unheard, 0
        if context is None:
            commits = sum(marker.action == "commit" for marker in self._listen.state.markers)
        else:
            unheard = [item.id for item in context if item.id in unheard]
        name, begun = self._replies.create(request, now, context=context, waiting=unheard, commits=commits)
        return name, [*effects, *begun]

    def cancel_reply(self, reply_id: str | None, now: float) -> list[Effect]:
        """End the reply in progress, or the one named. Raises ReplyError."""
        told = (state for state in self._replies.state.all if state.guess is None and state.id == reply_id)
        state = next(told, None) if reply_id else self._replies.active
        if state is None:
            param = "response_id" if reply_id else None
            raise ReplyError("response_cancel_not_active", "there is no such response in progress", param)
        self._state.wanted = self._state.wanted and not state.request.in_conversation
        return self._settled(self._replies.end(state, CLIENT_CANCELLED, now), now)

    # --- what the streams produce ---

    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what a stream produced."""
        if stream == LISTEN:
            return self._settled(self._on_listen(output, now), now)
        return self._settled(self._replies.on_output(stream, output, now), now)

    def _settled(self, effects: list[Effect], now: float) -> list[Effect]:
        """Turns without a reply get one, once nobody speaks; a history that is too long is cut."""
        state = self._state
        if state.wanted and not state.speaking and self._replies.active is None:
            state.wanted = False
            trace = Trace(speech_end=state.voice_at, turn_end=state.turn_end, transcript=now)
            _, begun = self._replies.create(state.config.reply, now, waiting=state.unheard, trace=trace)
            effects = [*effects, *begun]
        return [*effects, *self._trim()]

    def _on_listen(self, output: StreamOutput, now: float) -> list[Effect]:
        onset = self._state.onset
        if output.kind == "vad":
            speech = self._listen.is_onset(output.meta["speech"])
            self._state.voice_at = now if speech else self._state.voice_at
            if onset is not None:
                onset.frame(speech)
        elif output.kind == "partial" and onset is not None and self._listen.is_of(onset.item, output.meta["segment"]):
            onset.text, onset.wordless = output.meta["text"], output.meta.get("blank")
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
                if self._replies.audible(now) and isinstance(state.config.listen.detection, SemanticVad):
                    state.onset = Onset(item, [event])
                    return []
                return [event, *self._interrupted(now)]
            case SpeechStopped(item):
                state.speaking, state.turn_end = False, now
                state.ended.append(item)
            case Committed(item):
                return [event, *self._committed(item, now)]
            case CommitRefused():
                return [event, *self._replies.commit_settled(None, now)]
            case Likely(item, text):
                return self._guess(Guess(item, text), now)
            case Unlikely():
                return self._replies.drop_guess()
            case Cleared():
                state.speaking = False
                return [event, *self._replies.drop_guess()]
            case Completed(item, text):
                self._set_text(item, text)
                return [event, *self._turn_over(item, text, now), *self._text_settled(item, now)]
            case Failed(item):
                self._set_text(item, "")
                state.speaking = False
                return [event, *self._turn_over(item, "", now), *self._text_settled(item, now)]
        return [event]

    # --- interruptions ---

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
        effects, active = self._replies.drop_guess(), self._replies.active
        if not self._state.config.interrupt_response:
            return effects
        self._replies.state.playing_until = now
        self._state.wanted = False
        if active is None or active.commits:
            return effects
        return [*effects, *self._replies.end(active, TURN_DETECTED, now)]

    # --- the user's items ---

    def _committed(self, item: str, now: float) -> list[Effect]:
        self.conversation.add(Message(item, "user", [Part("input_audio")]))
        self._state.unheard.append(item)
        if item in self._state.ended:
            return []
        self._state.speaking = False
        return [*self._replies.drop_guess(), *self._replies.commit_settled(item, now)]

    def _set_text(self, item_id: str, text: str) -> None:
        contexts = [reply.context for reply in self._replies.state.all if reply.context is not None]
        for item in chain(self.conversation.items, *contexts):
            if item.id == item_id and isinstance(item, Message):
                item.content[0].text = text

    def _text_settled(self, item: str, now: float) -> list[Effect]:
        """The text of an item of speech is known, or will never be."""
        self._state.unheard = [other for other in self._state.unheard if other != item]
        return self._replies.text_settled(item, now)

    def _guess(self, guess: Guess, now: float) -> list[Effect]:
        """Begin to reply to a turn that may be over."""
        state = self._state
        if not guess.text.strip() or not state.config.create_response or self._replies.active or state.unheard:
            return []
        dropped, trace = self._replies.drop_guess(), Trace(speech_end=state.voice_at, transcript=now)
        _, begun = self._replies.create(state.config.reply, now, guess=guess, trace=trace)
        return [*dropped, *begun]

    def _turn_over(self, item: str, text: str, now: float) -> list[Effect]:
        """Reply to a turn that was detected to be over, now or as soon as that is possible."""
        state = self._state
        if item not in state.ended:
            return []
        state.ended.remove(item)
        guessed = self._replies.reveal(Guess(item, text), state.turn_end, now) if state.config.create_response else None
        if guessed is not None:
            state.wanted = False
            return guessed
        active = self._replies.active
        if text.strip() and state.config.create_response and (active is None or active.asked):
            state.wanted = True
        return self._replies.drop_guess()

    def _new_item(self) -> str:
        """A name for an item, which may not be one that the client has given."""
        taken = {item.id for item in self.conversation.items}
        while (name := self._name()) in taken:
            pass
        return name

    def _trim(self) -> list[Effect]:
        forgotten = self.conversation.trim(self._replies.items)
        return [ItemsForgotten(forgotten)] if forgotten else []
