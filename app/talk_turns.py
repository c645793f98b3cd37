"""The turns of a conversation as its client sees them: who is waiting for whom, and for how long."""


class Turns:
    """Times are of the caller's clock, in seconds."""

    def __init__(self, silence_s: float) -> None:
        """`silence_s`: the pause that ends a turn, which the server counts as part of it."""
        self.heard_speech = False
        self.heard_words = False
        self.awaiting_reply = False
        self._silence_s = silence_s
        self._began_at = 0.0
        self._spoken_until: float | None = None

    def begin(self, now: float) -> None:
        """The audio that is sent first begins now."""
        self._began_at = now

    def speech_started(self) -> None:
        """The user speaks, and wants an answer."""
        self.heard_speech = self.awaiting_reply = True
        self._spoken_until = None

    def speech_stopped(self, at: float) -> None:
        """The turn ended `at` seconds of audio after the beginning."""
        self._spoken_until = self._began_at + at - self._silence_s

    def committed(self, now: float) -> None:
        """The user has ended the turn by hand."""
        self.heard_speech = self.awaiting_reply = True
        self._spoken_until = now

    def transcribed(self, text: str) -> None:
        """The user's words; speech without any is not answered."""
        if text:
            self.heard_words = True
        else:
            self.awaiting_reply = False

    def reply_heard(self, now: float) -> float | None:
        """A reply's audio has come. Returns how long after the end of speech, if it is the first since."""
        if self._spoken_until is None:
            return None
        waited_s, self._spoken_until = now - self._spoken_until, None
        return waited_s

    def reply_done(self, status: str) -> None:
        """A reply is over; one that was cancelled was interrupted by a new turn, which gets its own."""
        self.awaiting_reply = self.awaiting_reply and status == "cancelled"
