"""Where the time of a turn went."""

import msgspec


class Trace(msgspec.Struct):
    """When each step of a turn was done, in seconds since the epoch; None for what the turn did not have.

    A stage may be over before the turn is: transcript and reply begin at the first likely end of the speech.
    """

    speech_end: float | None = None
    """The last frame of speech was analysed."""
    turn_end: float | None = None
    """The turn was found to be over."""
    transcript: float | None = None
    asked: float | None = None
    """The language model was asked."""
    first_token: float | None = None
    first_speech: float | None = None
    """The first speech was synthesised."""
    sent: float | None = None
    """The first speech, or text where there is no speech, went to the client."""

    def stages(self) -> dict[str, tuple[float, float]]:
        """Consecutive (start, end) from the end of speech, or from the request, to the first thing sent.

        `listening`: until the transcript; `thinking`: until the first token; `speaking`: until the first speech;
        `waiting`: until the turn was sure to be over.
        """
        ends = {
            "listening": self.transcript,
            "thinking": self.first_token,
            "speaking": self.first_speech,
            "waiting": self.sent,
        }
        start = self.speech_end if self.speech_end is not None else self.asked
        stages: dict[str, tuple[float, float]] = {}
        for name, end in ends.items():
            if start is not None and end is not None:
                stages[name] = (start, max(start, end))
                start = stages[name][1]
        return stages
