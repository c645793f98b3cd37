"""All scripted streams of one session, by name: what a gateway does, without a broker."""

from pipelines.effects import Action, Cancel, CloseStream, OnStream, OpenStream, Push, StreamOutput
from tests.pipelines.listen import Listen, Refused, Script
from tests.pipelines.speak import Speak, Voice
from tests.pipelines.think import Brain, Think

Stream = Listen | Think | Speak


class Streams:
    """Raises Refused where real streams would fail."""

    def __init__(self, script: Script, brain: Brain, voice: Voice) -> None:
        self.script, self.brain, self.voice = script, brain, voice
        self.open: dict[str, Stream] = {}
        self.opened: list[tuple[str, Stream]] = []
        """Every stream that was ever open, by name."""
        self.refusing: set[str] = set()
        """Services that have no free slot."""
        self._refused: list[str] = []

    def act(self, effect: OnStream, now: float, heard: int) -> None:
        """Carry out what is asked of a stream, when `heard` samples of audio have been sent."""
        name, action = effect.stream, effect.action
        match action:
            case OpenStream(service):
                self.open.pop(name, None)
                if service in self.refusing:
                    self._refused.append(name)
                else:
                    self.open[name] = self._opened(name, action, heard)
                    self.opened.append((name, self.open[name]))
            case CloseStream():
                self.open.pop(name, None)
            case _ if name in self.open:
                _perform(self.open[name], action, now)
            case _ if name not in self._refused:
                raise Refused(f"{action} on {name}, which is not open")

    def pull(self, now: float, *, settle: bool = False) -> tuple[str, StreamOutput] | None:
        """The next output that is due by now, and whose it is; with `settle`, listening catches up."""
        if self._refused:
            meta = {"code": "server_full", "message": "no worker has a free slot"}
            return self._refused.pop(0), StreamOutput("refused", meta=meta)
        for name, stream in self.open.items():
            output = stream.pull(settle=settle) if isinstance(stream, Listen) else stream.pull(now)
            if output is not None:
                return name, output
        return None

    def lose(self, name: str, kind: str = "lost", code: str = "worker_lost") -> StreamOutput:
        """A stream ends of itself; returns its last word."""
        self.open.pop(name)
        return StreamOutput(kind, meta={"code": code, "message": "gone", "param": None})

    def _opened(self, name: str, action: OpenStream, heard: int) -> Stream:
        if name.partition(":")[0] != action.service:
            raise Refused(f"{action.service} as {name}")
        match action.service:
            case "listen":
                return Listen(self.script, heard)
            case "think" if not action.options:
                return Think(self.brain)
            case "speak":
                return Speak(self.voice, action.options)
        raise Refused(f"{action}")


def _perform(stream: Stream, action: Action, now: float) -> None:
    match stream, action:
        case Listen(), Push():
            stream.push(action)
        case ((Think() | Speak()), Push()):
            stream.push(action, now)
        case Think(), Cancel(turn):
            stream.cancel(turn, now)
        case _:
            raise Refused(f"{action} on {stream}")
