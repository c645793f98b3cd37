"""StreamDiffusion as a stream: frames in, restyled frames out, as many as there is time for."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch

from models.base import Message, Output, Pending, StreamError, StreamModel
from models.diffusion.frames import FrameError, decode, encode
from models.diffusion.networks import Networks
from models.diffusion.options import MAX_FRAME_BYTES, Restyling, merged, restyling
from models.diffusion.prompts import PromptBook
from models.diffusion.similarity import SimilarityFilter
from models.diffusion.stream_batch import StreamBatch

FRAME = "frame"


class _Frame(msgspec.Struct, array_like=True, frozen=True):
    pts: int
    data: bytes
    slack_s: float


class _Session(msgspec.Struct, array_like=True):
    """`waiting`: the latest frame that was not painted yet; `dropped`: how many will not be, since the last output."""

    restyling: Restyling
    waiting: _Frame | None = None
    dropped: int = 0
    flushing: bool = False


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    session: _Session
    prompts: bytes
    frames: bytes


class StreamDiffusion(StreamModel):
    """Takes `frame` (a JPEG, WebP or PNG; meta {"dropped"}: frames that were lost on the way) and `restyle` (meta: the
    fields of `Restyling` that change).

    Puts out `frame` (pts of the frame it was made of, JPEG, meta {"dropped"}: frames since the last output that will
    never come, since later ones replaced them), `same` (the frame looks like the one before, and so does what it would
    have become), `unreadable` (meta {"message"}), `held` (the frame is under way, and none came out in its turn) and,
    after a flush, `done` (meta {"dropped"}). A frame comes out when as many have entered as it has stages, or at a
    flush.
    """

    name: ClassVar[str] = "streamdiffusion"
    accepts: ClassVar[frozenset[str]] = frozenset({FRAME, "restyle"})

    def __init__(
        self,
        directory: Path,
        capacity: int,
        *,
        height: int = 512,
        width: int = 512,
        max_batch: int = 16,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        loras: Sequence[tuple[Path, float]] = (),
    ) -> None:
        """`directory` holds a checkpoint as `Networks` takes it, and `loras` go into it. Raises CheckpointError."""
        self.capacity = capacity
        self.max_batch = max_batch
        self.window = 0
        self._size = height, width
        self._networks = Networks(directory, dtype, torch.device(device), loras)
        shape = self._networks.latent_shape(height, width)
        self._batch = StreamBatch(
            self._networks.predict, self._networks.schedule, capacity, shape, self._networks.device
        )
        self._book = PromptBook(self._networks.embed, capacity)
        self._sessions: list[_Session | None] = [None] * capacity
        self._filters: list[SimilarityFilter | None] = [None] * capacity

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        usual = {"denoising": msgspec.to_builtins(self._networks.denoising)}
        self._begin(slot, _Session(restyling(merged(usual, options))))

    def push(self, slot: int, message: Message) -> None:
        session = self._session(slot)
        if message.kind == "restyle":
            self._restyle(slot, session, message.meta)
        else:
            self._take(session, message)

    def flush(self, slot: int) -> None:
        self._session(slot).flushing = True

    def pending(self) -> Iterable[Pending]:
        for slot, session in enumerate(self._sessions):
            if session is None:
                continue
            if session.waiting is not None:
                yield Pending(slot, FRAME, session.waiting.slack_s)
            elif session.flushing:
                yield Pending(slot, FRAME, 0.0)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        outputs: list[Output] = []
        images: dict[int, torch.Tensor] = {}
        for slot in slots:
            session = self._session(slot)
            if session.waiting is not None:
                self._look(slot, session, session.waiting, images, outputs)
        outputs += self._paint(images, [slot for slot in slots if slot in images or self._flushes(slot)])
        for slot in slots:
            session = self._session(slot)
            session.waiting = None
            if session.flushing and not self._batch.under_way(slot):
                session.flushing = False
                outputs.append(Output(slot, "done", meta={"dropped": self._take_dropped(slot)}))
        return outputs

    def consumed(self, slot: int) -> int:
        """Frames come by way of the mailbox, which is not charged."""
        return 0

    def snapshot(self, slot: int) -> bytes:
        states = self._book.snapshot(slot), self._batch.snapshot(slot)
        return msgspec.msgpack.encode(_Snapshot(self._session(slot), *states))

    def restore(self, slot: int, snapshot: bytes) -> None:
        """The filter does not remember what it saw: the next frame is painted."""
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._begin(slot, saved.session)
        self._book.restore(slot, saved.prompts)
        self._batch.restore(slot, saved.frames)

    def close(self, slot: int) -> None:
        self._sessions[slot] = self._filters[slot] = None

    def _session(self, slot: int) -> _Session:
        session = self._sessions[slot]
        assert session is not None
        return session

    def _begin(self, slot: int, session: _Session) -> None:
        self._sessions[slot] = session
        self._book.set(slot, session.restyling)
        self._batch.configure(slot, session.restyling.denoising)
        self._set_filter(slot, session.restyling)

    def _set_filter(self, slot: int, wanted: Restyling) -> None:
        self._filters[slot] = SimilarityFilter(wanted.filter, wanted.denoising.seed) if wanted.filter else None

    @staticmethod
    def _take(session: _Session, message: Message) -> None:
        if len(message.data) > MAX_FRAME_BYTES:
            raise StreamError(f"a frame has at most {MAX_FRAME_BYTES} bytes, got {len(message.data)}", param="data")
        session.dropped += message.meta.get("dropped", 0) + (session.waiting is not None)
        session.waiting = _Frame(message.pts, message.data, message.slack_s)

    def _restyle(self, slot: int, session: _Session, changes: Mapping[str, Any]) -> None:
        former, wanted = session.restyling, restyling(changes, session.restyling)
        session.restyling = wanted
        self._book.change(slot, wanted)
        if wanted.denoising != former.denoising:
            session.dropped += self._batch.under_way(slot)
            self._batch.configure(slot, wanted.denoising)
        self._set_filter(slot, wanted)

    def _look(
        self, slot: int, session: _Session, frame: _Frame, images: dict[int, torch.Tensor], outputs: list[Output]
    ) -> None:
        """The picture that is to be painted, unless it cannot be read or need not be."""
        try:
            image = decode(frame.data, *self._size, session.restyling.fit)
        except FrameError as error:
            outputs.append(Output(slot, "unreadable", frame.pts, meta={"message": str(error)}))
            return
        similarity = self._filters[slot]
        if similarity is not None and similarity.skips(image):
            outputs.append(Output(slot, "same", frame.pts))
        else:
            images[slot] = image

    def _paint(self, images: Mapping[int, torch.Tensor], slots: Sequence[int]) -> list[Output]:
        if not slots:
            return []
        entering = list(images)
        frames = {slot: frame for slot in entering if (frame := self._session(slot).waiting)}
        if entering:
            latents = self._networks.encode(torch.stack(list(images.values())))
            self._batch.enter(entering, [frame.pts for frame in frames.values()], latents)
        try:
            done = self._batch.step(slots, *self._book.embeddings(slots))
        except Exception:
            self._batch.withdraw(entering)
            raise
        self._book.turn(entering)
        for slot, image in images.items():
            self._session(slot).waiting = None
            if similarity := self._filters[slot]:
                similarity.painted(image)
        try:
            painted = self._networks.decode(done.latents) if done.slots else done.latents
        except Exception:
            for slot in done.slots:
                self._session(slot).dropped += 1
            raise
        held = [Output(slot, "held", frame.pts) for slot, frame in frames.items() if slot not in done.slots]
        return held + [
            Output(slot, FRAME, pts, encode(image), {"dropped": self._take_dropped(slot)})
            for slot, pts, image in zip(done.slots, done.tickets, painted, strict=True)
        ]

    def _flushes(self, slot: int) -> bool:
        return self._session(slot).flushing and self._batch.under_way(slot) > 0

    def _take_dropped(self, slot: int) -> int:
        session = self._session(slot)
        dropped, session.dropped = session.dropped, 0
        return dropped
