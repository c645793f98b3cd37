"""What a stream wants heard: the utterance it follows, the final texts it waits for, and how far the network is."""

from dataclasses import dataclass, field

from models.asr.fastconformer.config import SUBSAMPLING
from models.asr.fastconformer.decoder import Heard, Token

SETTLING_FRAMES = 2
"""Age from which likely tokens are told."""


@dataclass(frozen=True)
class Utterance:
    """Audio from sample `start` on, heard with a look-ahead in encoder frames, in which `phrases` are likely.

    Without a `language` it is left to the network to find out.
    """

    number: int
    start: int
    lookahead: int
    phrases: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True)
class Request:
    """The final text of an utterance, up to sample `end`, is asked for."""

    utterance: Utterance
    end: int
    words: bool
    slack_s: float


@dataclass
class Track:
    """The utterance that a slot's network state is about: mel frames it has taken, and what it has heard."""

    utterance: Utterance
    mels: int = 0
    tokens: list[Token] = field(default_factory=list)
    """Those that stay,"""
    likely: list[Token] = field(default_factory=list)
    """and those that seem to follow."""
    told: list[Token] = field(default_factory=list)
    """What was told while it was said, which nothing takes back: each token was the likeliest once."""
    told_until: int = 0
    """Mel frames of which was told before it was heard anew."""

    @property
    def frames(self) -> int:
        """Encoder frames of what it has taken."""
        return -(-self.mels // SUBSAMPLING)

    def anew(self) -> "Track":
        """Of the same utterance, from its start."""
        return Track(self.utterance, told=list(self.told), told_until=max(self.mels, self.told_until))

    def hear(self, mels: int, heard: Heard) -> None:
        """Take some more frames, and what they made."""
        self.mels += mels
        self.tokens += heard.certain
        self.likely = heard.likely
        after, settled = self.told[-1].frame if self.told else -1, self.frames - SETTLING_FRAMES
        ripe = (token for token in heard.likely if token.frame < settled)
        self.told += [token for token in (*heard.certain, *ripe) if token.frame > after]


@dataclass
class Listener:
    """State of one stream beside its audio and the network's. `release_pts`: nobody will ask for earlier audio."""

    followed: Utterance | None = None
    requests: list[Request] = field(default_factory=list)
    track: Track | None = None
    release_pts: int = 0
    audio_slack_s: float = 0.0

    @property
    def needed_from(self) -> int:
        """Audio before this sample is of no more use: neither asked for nor awaited by a request."""
        return min([self.release_pts, *(request.utterance.start for request in self.requests)])

    @property
    def request(self) -> Request | None:
        """The request that is next to be answered."""
        return self.requests[0] if self.requests else None

    @property
    def wanted(self) -> Utterance | None:
        """What there is to hear: requests come first."""
        return self.requests[0].utterance if self.requests else self.followed

    def known(self, number: int, start: int, language: str | None) -> Utterance | None:
        """The utterance, if the network has begun to hear it in the language or is about to."""
        begun = [self.followed, self.track and self.track.utterance]
        wanted = number, start, language
        return next((one for one in begun if one and (one.number, one.start, one.language) == wanted), None)

    def ask(self, request: Request) -> None:
        """Queue a request, in place of an unanswered one for its utterance."""
        self.withdraw(request.utterance.number)
        self.requests.append(request)

    def unfollow(self, number: int) -> None:
        """Stop following the utterance, if it is the one."""
        if self.followed is not None and self.followed.number == number:
            self.followed = None

    def release(self, pts: int) -> None:
        """Nobody will ask for audio before `pts` again: an utterance that began before it is over."""
        self.release_pts = max(self.release_pts, pts)
        if self.followed is not None and self.followed.start < self.release_pts:
            self.followed = None

    def withdraw(self, number: int) -> None:
        """The utterance's final text is not wanted any more."""
        self.requests = [request for request in self.requests if request.utterance.number != number]
