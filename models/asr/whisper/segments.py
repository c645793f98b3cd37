"""What a stream wants heard: the segment it follows, the segments it followed before, the final texts it waits for."""

from dataclasses import dataclass, field

from models.asr.whisper.agreement import Agreement

MAX_SEGMENTS = 32
"""Followed segments that a stream may return to; the one followed longest ago is forgotten first."""


@dataclass
class Segment:
    """Audio from sample `start` on and what hypotheses about it agreed on; `heard`: end of the last one's audio."""

    number: int
    start: int
    language: str | None
    prompt: tuple[int, ...]
    heard: int = 0
    agreement: Agreement = field(default_factory=Agreement)


@dataclass(frozen=True)
class Request:
    """A final hypothesis that is asked for, over samples [start, end)."""

    number: int
    start: int
    end: int
    language: str | None
    prompt: tuple[int, ...]
    words: bool
    slack_s: float


@dataclass
class Listener:
    """State of one stream beside its audio. `release_pts`: nobody will ask for earlier audio."""

    segments: dict[int, Segment] = field(default_factory=dict)
    followed: int | None = None
    requests: list[Request] = field(default_factory=list)
    language: str | None = None
    release_pts: int = 0
    audio_slack_s: float = 0.0

    @property
    def segment(self) -> Segment | None:
        """The segment that is followed."""
        return None if self.followed is None else self.segments[self.followed]

    @property
    def needed_from(self) -> int:
        """Audio before this sample is of no more use: neither asked for nor awaited by a request."""
        return min([self.release_pts, *(request.start for request in self.requests)])

    def follow(self, number: int, start: int, language: str | None, prompt: tuple[int, ...]) -> None:
        """Follow a segment, from its agreed text on if it was followed before; its unanswered request is withdrawn."""
        self._withdraw(number)
        segment = self.segments.pop(number, None) or Segment(number, start, language, prompt)
        segment.start, segment.prompt = start, prompt
        segment.language = language or segment.language
        self.segments[number] = segment
        self.followed = number
        if len(self.segments) > MAX_SEGMENTS:
            del self.segments[next(iter(self.segments))]

    def request(self, request: Request) -> None:
        """Queue a final hypothesis, in place of an unanswered one for its segment, which is no longer followed."""
        self._withdraw(request.number)
        self.requests.append(request)
        self.unfollow(request.number)

    def unfollow(self, number: int) -> None:
        """Stop following the segment, if it is the one."""
        if self.followed == number:
            self.followed = None

    def release(self, pts: int) -> None:
        """Nobody will ask for audio before `pts` again: segments that began before it are over."""
        self.release_pts = max(self.release_pts, pts)
        self.segments = {n: segment for n, segment in self.segments.items() if segment.start >= self.release_pts}
        if self.followed not in self.segments:
            self.followed = None

    def _withdraw(self, number: int) -> None:
        self.requests = [request for request in self.requests if request.number != number]
