"""A session in which the server answers."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from app.realtime import client_events, events
from app.realtime.audio import InputAudio, OutputAudio
from app.realtime.conversation_config import RealtimeConfig, RealtimeUpdate, voice_name
from app.realtime.errors import bad_request
from app.realtime.items import ItemReference, shown_item, to_item
from app.realtime.playout import Playout
from app.realtime.response_config import ResponseRequest, ShownResponse
from app.realtime.responses import finished_item, finished_response, started_item
from app.realtime.session import Effect, Limits, Send, Session, SessionState, new_id
from app.realtime.tools import FunctionTool, ToolChoice, choice_problem
from models.lm.schemas import SchemaError, check_parameters
from models.tts.voices import UnknownVoice, resolve
from pipelines import converse_events, transcribe_events
from pipelines.conversation import ItemError
from pipelines.converse import Converse, ReplyError
from pipelines.converse_state import ConverseState
from pipelines.effects import OnStream, StreamOutput
from pipelines.items import Item, Message
from pipelines.reply import ReplyRequest
from pipelines.transcribe_state import TranscribeState


class ConversationState(SessionState, kw_only=True):
    """All that a conversation's session remembers."""

    model: str
    """Name under which the session's model is shown to the client."""
    pipeline: ConverseState
    config: RealtimeConfig = RealtimeConfig()
    responses: dict[str, ShownResponse] = msgspec.field(default_factory=dict)
    """Replies in progress."""

    @property
    def conversation_id(self) -> str:
        """The conversation's id."""
        return self.id.replace("sess_", "conv_", 1)


def new_conversation(
    model: str, transcriber: str, now: float, config: RealtimeConfig | None = None
) -> ConversationState:
    """The state of a session that begins now. `model` is what the client asked for, or ours."""
    config = config or RealtimeConfig()
    pipeline = config.conversation()
    return ConversationState(
        id=new_id(),
        model=model,
        transcriber=transcriber,
        created_at=now,
        heard_at=now,
        pipeline=ConverseState(pipeline, TranscribeState(pipeline.listen)),
        config=config,
    )


class ConversationSession(Session):
    """Rules of a conversation's session."""

    state: ConversationState

    def __init__(self, state: ConversationState, limits: Limits, *, tracks: bool = False) -> None:
        super().__init__(state, limits, state.config, tracks=tracks)
        self._playout = Playout()
        self._pipeline = Converse(state.pipeline, state.new_item)
        self._outputs: dict[str, OutputAudio] = {}

    @property
    def config(self) -> RealtimeConfig:
        return self.state.config

    def start(self) -> list[Effect]:
        created = events.SessionCreated(session=self.shown())
        return [*self._carry_out(self._pipeline.start(), self.state.created_at), self._send(created)]

    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        return self._carry_out(self._pipeline.on_output(stream, output, now), now)

    def hear(self, pcm: bytes, now: float) -> list[Effect]:
        self.state.heard_at = now
        return self._carry_out(self._pipeline.audio(pcm), now)

    def play(self) -> tuple[bytes | None, list[Effect]]:
        pcm, started, stopped = self._playout.frame()
        told: list[Effect] = []
        if started is not None:
            told.append(self._send(events.OutputAudioStarted(response_id=started)))
        if stopped is not None:
            told.append(self._send(events.OutputAudioStopped(response_id=stopped)))
        return pcm, told

    def handle(self, event: client_events.ClientEvent, now: float) -> list[Effect]:
        try:
            return self._handle(event, now)
        except (ItemError, ReplyError) as error:
            raise bad_request(error.code, str(error), error.param, event.event_id) from None

    def _handle(self, event: client_events.ClientEvent, now: float) -> list[Effect]:
        pipeline = self._pipeline
        match event:
            case client_events.AppendAudio():
                return self._carry_out(pipeline.audio(self._decoded(event)), now)
            case client_events.CommitAudio(event_id=event_id):
                tail = pipeline.audio(self._audio.flush())
                return self._carry_out([*tail, *pipeline.commit(now, event_id)], now)
            case client_events.ClearAudio():
                self._audio.flush()
                return self._carry_out(pipeline.clear(now), now)
            case client_events.UpdateSession(session=RealtimeUpdate() as update):
                return self._update(update, event.event_id, now)
            case client_events.CreateItem():
                return self._create_item(event, now)
            case client_events.DeleteItem(item_id=item):
                effects = self._carry_out(pipeline.delete_item(item, now), now)
                return [*effects, self._send(events.ItemDeleted(item_id=item))]
            case client_events.RetrieveItem(item_id=item):
                found = shown_item(pipeline.conversation.find(item))
                return [self._send(events.ItemRetrieved(item=found))]
            case client_events.TruncateItem(item_id=item, content_index=index, audio_end_ms=end):
                return self._truncate(item, index, end, now)
            case client_events.CreateResponse(response=response):
                request = ResponseRequest() if response is UNSET or response is None else response
                return self._create_response(request, event.event_id, now)
            case client_events.CancelResponse(response_id=response_id):
                return self._carry_out(pipeline.cancel_reply(response_id, now), now)
            case client_events.ClearOutput() if self._tracks:
                return self._stop_playback(now)
            case client_events.ClearOutput():
                message = "over a WebSocket the client plays the audio itself: stop playback and truncate the item"
                raise bad_request("unsupported_event", message, "type", event.event_id)
        message = "session.type: this session is of type 'realtime'; to transcribe only, connect with "
        raise bad_request("invalid_value", f"{message}?intent=transcription", "session.type", event.event_id)

    # --- what the client asks for ---

    def changed(self, update: RealtimeUpdate, event_id: str | None = None) -> RealtimeConfig:
        """The configuration that an update asks for. Raises BadEvent."""
        config = self.config.with_changes(update)
        self._check(config.transcription, event_id)
        self._check_voice(config.voice, "session.audio.output.voice", event_id)
        _check_tools(config.tools, config.tool_choice, "session", event_id)
        return config

    def _update(self, update: RealtimeUpdate, event_id: str | None, now: float) -> list[Effect]:
        config = self.changed(update, event_id)
        tail: list[Effect] = []
        if config.format != self.config.format:
            tail = self._carry_out(self._pipeline.audio(self._audio.flush()), now)
            self._audio = InputAudio(config.format)
        self.state.config = config
        changed = self._carry_out(self._pipeline.configure(config.conversation(), now), now)
        return [*tail, *changed, self._send(events.SessionUpdated(session=self.shown()))]

    def _create_item(self, event: client_events.CreateItem, now: float) -> list[Effect]:
        item = to_item(event.item, self.state.new_item(), "item", event.event_id)
        previous, effects = self._pipeline.create_item(item, event.previous_item_id)
        shown = shown_item(item)
        return [
            self._send(events.ItemAdded(item=shown, previous_item_id=previous)),
            self._send(events.ItemDone(item=shown, previous_item_id=previous)),
            *self._carry_out(effects, now),
        ]

    def _truncate(self, item: str, content_index: int, audio_end_ms: int, now: float) -> list[Effect]:
        effects = self._carry_out(self._pipeline.truncate_item(item, content_index, audio_end_ms, now), now)
        truncated = events.ItemTruncated(item_id=item, content_index=content_index, audio_end_ms=audio_end_ms)
        return [*effects, self._send(truncated)]

    def _stop_playback(self, now: float) -> list[Effect]:
        """What was not heard was not said."""
        replies, cuts = self._playout.clear()
        effects: list[Effect] = [self._send(events.OutputAudioCleared(response_id=reply)) for reply in replies]
        for item, played_ms in cuts:
            if any(known.id == item for known in self._pipeline.conversation.items):
                effects += self._truncate(item, 0, played_ms, now)
        return effects

    def _create_response(self, request: ResponseRequest, event_id: str | None, now: float) -> list[Effect]:
        config = self._config_of(request, event_id)
        in_conversation = request.conversation == "auto"
        reply = msgspec.structs.replace(config.reply(), in_conversation=in_conversation, metadata=request.metadata)
        context = None if request.input is UNSET else self._context(request, event_id)
        name, effects = self._pipeline.create_reply(reply, now, context)
        self.state.responses[name] = self._shown_response(config, reply)
        return self._carry_out(effects, now)

    def _config_of(self, request: ResponseRequest, event_id: str | None) -> RealtimeConfig:
        """The session's configuration with what is different for one response. Raises BadEvent."""
        output = request.audio.output
        update = RealtimeUpdate(
            instructions=request.instructions,
            max_output_tokens=request.max_output_tokens,
            output_modalities=request.output_modalities,
            tools=request.tools,
            tool_choice=request.tool_choice,
        )
        config = self.config.with_changes(update)
        if output.format is not UNSET:
            config = msgspec.structs.replace(config, output_format=output.format)
        if output.voice is not UNSET:
            config = msgspec.structs.replace(config, voice=voice_name(output.voice))
        self._check_voice(config.voice, "response.audio.output.voice", event_id)
        _check_tools(config.tools, config.tool_choice, "response", event_id)
        return config

    def _context(self, request: ResponseRequest, event_id: str | None) -> list[Item]:
        context: list[Item] = []
        assert request.input is not UNSET
        for index, item in enumerate(request.input):
            param = f"response.input[{index}]"
            if isinstance(item, ItemReference):
                context.append(self._pipeline.conversation.find(item.id, f"{param}.id"))
            else:
                context.append(to_item(item, self.state.new_item(), param, event_id))
        return context

    def _check_voice(self, voice: str, param: str, event_id: str | None) -> None:
        try:
            resolve(voice)
        except UnknownVoice as error:
            raise bad_request("invalid_value", f"{param}: {error}", param, event_id) from None

    # --- what the pipeline tells ---

    def _carry_out(self, effects: Iterable[converse_events.Effect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in effects:
            match effect:
                case OnStream() | converse_events.Traced():
                    carried.append(effect)
                case transcribe_events.SpeechStarted() if self._interrupts:
                    carried += [*self._listened(effect), *self._stop_playback(now)]
                case transcribe_events.Committed(item):
                    carried += self._committed(item, self._pipeline.conversation.before(item))
                case transcribe_events.Failed(item, code, message) if self.config.transcription is None:
                    self._forget(item)
                    carried.append(self.fault(code, f"what was said is lost: {message}"))
                case transcribe_events.Delta() | transcribe_events.Completed() if self.config.transcription is None:
                    self._forget(effect.item)
                case converse_events.ItemsForgotten(items):
                    carried += [self._send(events.ItemDeleted(item_id=item)) for item in items]
                case converse_events.ReplyStarted() | converse_events.ReplyFinished():
                    carried += self._replied(effect)
                case converse_events.ItemStarted() | converse_events.ItemFinished():
                    carried += self._made(effect)
                case converse_events.TextDelta() | converse_events.SpeechDelta() | converse_events.CallDelta():
                    carried += self._said(effect)
                case _:
                    carried += self._listened(effect)
        self.state.pipeline = self._pipeline.state
        return carried

    def _replied(self, event: converse_events.ReplyStarted | converse_events.ReplyFinished) -> list[Effect]:
        name = event.reply
        if isinstance(event, converse_events.ReplyStarted):
            shown = self.state.responses.setdefault(name, self._shown_response(self.config, self.config.reply()))
            response = shown.shown(name) | {"status": "in_progress", "output": [], "usage": None}
            return [
                self._send(events.ResponseCreated(response=response)),
                self._send(events.RateLimitsUpdated(rate_limits=[])),
            ]
        self._playout.end(name)
        response = self.state.responses.pop(name).shown(name) | finished_response(event)
        return [self._send(events.ResponseDone(response=response))]

    def _made(self, event: converse_events.ItemStarted | converse_events.ItemFinished) -> list[Effect]:
        joined = self.state.responses[event.reply].conversation_id is not None
        if isinstance(event, converse_events.ItemStarted):
            return self._send_all(started_item(event, joined=joined))
        previous = self._pipeline.conversation.before(event.item.id) if joined else None
        spoken = event.reply in self._outputs and isinstance(event.item, Message)
        tail = self._outputs.pop(event.reply).encode(b"", last=True) if spoken else []
        effects = [self._audio_delta(event.reply, event.index, event.item.id, delta) for delta in tail]
        return [*effects, *self._send_all(finished_item(event, previous, joined=joined))]

    def _said(
        self, event: converse_events.TextDelta | converse_events.SpeechDelta | converse_events.CallDelta
    ) -> list[Effect]:
        place: dict[str, Any] = {"response_id": event.reply, "output_index": event.index, "item_id": event.item}
        match event:
            case converse_events.TextDelta(text=text):
                return [self._send(events.TextDelta(**place, delta=text))]
            case converse_events.CallDelta(call_id=call_id, arguments=arguments):
                return [self._send(events.CallArgumentsDelta(**place, call_id=call_id, delta=arguments))]
            case converse_events.SpeechDelta(text=text, pcm=pcm):
                said: list[Effect] = []
                if text:
                    said.append(self._send(events.AudioTranscriptDelta(**place, delta=text)))
                if pcm and self._tracks:
                    self._playout.add(event.reply, event.item, pcm)
                elif pcm:
                    deltas = self._output(event.reply).encode(pcm)
                    said += [self._audio_delta(event.reply, event.index, event.item, delta) for delta in deltas]
                return said

    @property
    def _interrupts(self) -> bool:
        """Whether what is played ends when the user begins to speak."""
        detection = self.config.turn_detection
        return self._tracks and detection is not None and detection.interrupt_response is not False

    def _audio_delta(self, reply: str, index: int, item: str, delta: str) -> Send:
        return self._send(events.AudioDelta(response_id=reply, output_index=index, item_id=item, delta=delta))

    def _output(self, reply: str) -> OutputAudio:
        if reply not in self._outputs:
            self._outputs[reply] = OutputAudio(self.state.responses[reply].format)
        return self._outputs[reply]

    def _send_all(self, told: Iterable[events.ServerEvent]) -> list[Effect]:
        return [self._send(event) for event in told]

    def _shown_response(self, config: RealtimeConfig, reply: ReplyRequest) -> ShownResponse:
        return ShownResponse(
            self.state.conversation_id if reply.in_conversation else None,
            list(config.output_modalities),
            config.output_format,
            config.voice,
            config.max_output_tokens,
            reply.metadata,
        )

    def shown(self) -> dict[str, Any]:
        return self.config.shown_session(self.state.id, self.state.model, self.state.transcriber, int(self._expires_at))


def _check_tools(tools: list[FunctionTool], choice: ToolChoice, place: str, event_id: str | None) -> None:
    problem = choice_problem(choice, tools)
    if problem is not None:
        raise bad_request("invalid_value", f"{place}.tool_choice: {problem}", f"{place}.tool_choice", event_id)
    names = [tool.name for tool in tools]
    for index, tool in enumerate(tools):
        if tool.name in names[:index]:
            param = f"{place}.tools[{index}].name"
            raise bad_request("invalid_value", f"{param}: another tool is named {tool.name!r}", param, event_id)
        try:
            check_parameters(tool.parameters or {}, f"{place}.tools[{index}].parameters")
        except SchemaError as error:
            raise bad_request("invalid_value", str(error), error.param, event_id) from None
