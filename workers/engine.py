"""The step engine: one device thread that advances many streams of a few models, one step at a time.

Every model of a lane is touched by the lane's thread only. Other threads submit commands, which are applied between
steps in the order of submission; what comes out is handed to `deliver`, on the lane's thread.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.base import Message, Output, StreamError, StreamModel
from workers.scheduler import Batch, Scheduler, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Open:
    """Start a stream in a free slot."""

    slot: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Push:
    """Input for the models that accept its kind."""

    slot: int
    message: Message


@dataclass(frozen=True)
class Flush:
    """No more input comes."""

    slot: int


@dataclass(frozen=True)
class Cancel:
    """Output of turns before `turn` is not wanted."""

    slot: int
    turn: int


@dataclass(frozen=True)
class Close:
    """End a stream; answered by `Delivery.closed`, after which the slot may be used again."""

    slot: int


Command = Open | Push | Flush | Cancel | Close


@dataclass
class Delivery:
    """What happened since the last delivery."""

    outputs: list[Output] = field(default_factory=list)
    consumed: dict[int, int] = field(default_factory=dict)
    """Bytes of input that each touched slot has let go of since its stream opened."""
    faults: list[tuple[int, StreamError]] = field(default_factory=list)
    """Streams that must end; their slots are ignored until closed."""
    closed: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.outputs or self.consumed or self.faults or self.closed)


class StepObserver(Protocol):
    """Told of every step, on the lane's thread."""

    def stepped(self, model: StreamModel, batch: Batch, seconds: float, given_up: Counter[int]) -> None:
        """A step of `batch` took `seconds`. `given_up` counts work of its slots that made way for newer work."""


class Lane:
    """A device thread and the models it steps."""

    def __init__(
        self,
        models: Sequence[StreamModel],
        deliver: Callable[[Delivery], None],
        observer: StepObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models
        self._deliver = deliver
        self._observer = observer
        self._clock = clock
        self._scheduler = Scheduler([model.max_batch for model in models])
        self._commands: deque[Command] = deque()
        self._submitted = threading.Condition()
        self._stopping = False
        self._live: set[int] = set()
        self._consumed: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the running step and end the thread."""
        with self._submitted:
            self._stopping = True
            self._submitted.notify()
        self._thread.join()

    @property
    def running(self) -> bool:
        """False once the thread has ended, by `stop` or by an error that is no stream's fault."""
        return self._thread.is_alive()

    def submit(self, command: Command) -> None:
        """Queue a command; from any thread."""
        with self._submitted:
            self._commands.append(command)
            self._submitted.notify()

    def _run(self) -> None:
        while True:
            with self._submitted:
                while not (self._commands or self._stopping or self._scheduler.ready):
                    self._submitted.wait()
                if self._stopping:
                    return
                commands, self._commands = self._commands, deque()
            delivery = self.turn(commands)
            if delivery:
                self._deliver(delivery)

    def turn(self, commands: Iterable[Command]) -> Delivery:
        """Apply commands, then run at most one step. Only the lane's thread calls this once it is started."""
        delivery = Delivery()
        for command in commands:
            self._apply(command, delivery)
        self._refresh()
        batch = self._scheduler.next_batch(self._clock())
        if batch is not None:
            self._step(batch, delivery)
            self._refresh()
        self._count_consumed(delivery)
        return delivery

    def _refresh(self) -> None:
        work = (
            (Work(index, pending.bucket, pending.slot), pending.slack_s)
            for index, model in enumerate(self.models)
            for pending in model.pending()
            if pending.slot in self._live
        )
        self._scheduler.update(work, self._clock())

    def _apply(self, command: Command, delivery: Delivery) -> None:
        slot = command.slot
        if isinstance(command, Open):
            self._live.add(slot)
            self._consumed[slot] = 0
        elif isinstance(command, Close):
            self._live.discard(slot)
            for model in self.models:
                model.close(slot)
            delivery.closed.append(slot)
            return
        elif slot not in self._live:
            return
        try:
            for model in self.models:
                _command(model, command)
        except StreamError as error:
            self._fail(slot, error, delivery)
        except Exception as error:
            log.exception("%s failed", type(command).__name__)
            self._fail(slot, _model_error(model, error), delivery)

    def _step(self, batch: Batch, delivery: Delivery) -> None:
        model = self.models[batch.model]
        started, before = self._clock(), len(delivery.outputs)
        try:
            delivery.outputs += model.step(batch.bucket, batch.slots)
        except Exception:
            log.exception("step of %s failed for slots %s", model.name, batch.slots)
            self._step_alone(model, batch.bucket, batch.slots, delivery)
        given_up = Counter[int]()
        for output in delivery.outputs[before:]:
            given_up[output.slot] += output.meta.get("dropped", 0)
        self._observer.stepped(model, batch, self._clock() - started, given_up)

    def _step_alone(self, model: StreamModel, bucket: Hashable, slots: Sequence[int], delivery: Delivery) -> None:
        """Find whose fault a failed step was: the others must not suffer for it."""
        for slot in slots:
            try:
                delivery.outputs += model.step(bucket, [slot])
            except StreamError as error:
                self._fail(slot, error, delivery)
            except Exception as error:
                self._fail(slot, _model_error(model, error), delivery)

    def _fail(self, slot: int, error: StreamError, delivery: Delivery) -> None:
        self._live.discard(slot)
        delivery.faults.append((slot, error))

    def _count_consumed(self, delivery: Delivery) -> None:
        for slot in self._live:
            consumed = min(model.consumed(slot) for model in self.models)
            if consumed != self._consumed[slot]:
                self._consumed[slot] = delivery.consumed[slot] = consumed


def _model_error(model: StreamModel, error: Exception) -> StreamError:
    return StreamError(f"{model.name} failed on this stream: {error}", code="model_error")


def _command(model: StreamModel, command: Command) -> None:
    match command:
        case Open(slot, options):
            model.open(slot, options)
        case Push(slot, message):
            if message.kind in model.accepts:
                model.push(slot, message)
        case Flush(slot):
            model.flush(slot)
        case Cancel(slot, turn):
            model.cancel(slot, turn)
