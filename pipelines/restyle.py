"""Pictures in, restyled pictures out: as many as there is time for, the latest first."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pipelines.effects import OpenStream, Push, Show, StreamOutput

SERVICE = "restyle"
TICKS_PER_S = 90_000
MIN_SLACK_S, MAX_SLACK_S = 0.1, 0.5
"""A stream is owed ten pictures a second at most."""
MAX_FAILURES = 3
"""Streams lost in a row, without a picture between them, after which the pipeline gives up."""


class Restyled(msgspec.Struct, frozen=True):
    """What the picture at `pts` became: a JPEG. Before it, `dropped` pictures will not come."""

    pts: int
    data: bytes
    dropped: int


class Unchanged(msgspec.Struct, frozen=True):
    """The picture at `pts` looks like the one before it, and so would what it became."""

    pts: int


class Held(msgspec.Struct, frozen=True):
    """The picture at `pts` is under way, and none came out in its turn: a few are in work at once."""

    pts: int


class Unreadable(msgspec.Struct, frozen=True):
    """The picture at `pts` cannot be taken."""

    pts: int
    message: str


class Finished(msgspec.Struct, frozen=True):
    """All pictures have been answered for; the last `dropped` will not come."""

    dropped: int


class Failed(msgspec.Struct, frozen=True):
    """Nothing more can be restyled."""

    code: str
    message: str


Request = OpenStream | Push | Show
Answer = Restyled | Unchanged | Held | Unreadable | Finished | Failed


class RestyleState(msgspec.Struct):
    """All that the pipeline remembers. `options` are those of `models.diffusion.options.Restyling`."""

    options: dict[str, Any]
    slack_s: float = 0.1
    """How long a picture may wait: until the next one is due."""
    shown: int | None = None
    """`pts` of the last picture."""
    waiting: int = 0
    """Pictures that were shown and are not answered for."""
    lost: int = 0
    """Pictures that went down with a worker and were not told of yet."""
    finishing: bool = False
    failures: int = 0


class Restyle:
    """The pipeline. Each method returns effects to carry out in order. Every picture is answered for, once."""

    def __init__(self, state: RestyleState) -> None:
        self.state = state

    def start(self) -> Sequence[Request]:
        """Reserve the stream."""
        return [OpenStream(SERVICE, self.state.options)]

    def show(self, pts: int, data: bytes) -> Sequence[Request]:
        """Take a picture."""
        state = self.state
        if state.shown is not None:
            state.slack_s = min(MAX_SLACK_S, max(MIN_SLACK_S, (pts - state.shown) / TICKS_PER_S))
        state.shown = pts
        state.waiting += 1
        return [Show(pts, data, state.slack_s)]

    def change(self, changes: Mapping[str, Any], options: dict[str, Any]) -> Sequence[Request]:
        """Restyle differently from the next picture on: `options` are all that hold then."""
        self.state.options = options
        return [Push("restyle", meta=dict(changes))]

    def finish(self) -> Sequence[Request]:
        """No more pictures come."""
        self.state.finishing = True
        return [Push("flush")]

    def on_output(self, output: StreamOutput) -> Sequence[Request | Answer]:
        """Take what the stream produced."""
        match output.kind:
            case "frame":
                self.state.failures = 0
                self.state.waiting -= 1
                return [Restyled(output.pts, output.data, self._answered(output.meta["dropped"]))]
            case "same":
                self.state.waiting -= 1
                return [Unchanged(output.pts)]
            case "unreadable":
                self.state.waiting -= 1
                return [Unreadable(output.pts, output.meta["message"])]
            case "held":
                return [Held(output.pts)]
            case "done":
                return [Finished(self._answered(self.state.waiting))]
            case "lost" if self.state.failures < MAX_FAILURES:
                return self._again()
            case "error" | "lost" | "refused":
                return [Failed(output.meta["code"], output.meta["message"])]
            case kind:
                raise ValueError(f"a restyle stream has no output {kind!r}")

    def _answered(self, dropped: int) -> int:
        """Pictures to report as dropped, those included that were lost before."""
        state = self.state
        state.waiting -= dropped
        dropped, state.lost = dropped + state.lost, 0
        return dropped

    def _again(self) -> Sequence[Request]:
        """Another stream, for the pictures to come: those that were under way would be late."""
        state = self.state
        state.failures += 1
        state.lost, state.waiting = state.lost + state.waiting, 0
        return [*self.start(), *(self.finish() if state.finishing else [])]
