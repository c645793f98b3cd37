"""How a session goes on when its connection drops."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Reconnect:
    """Connect anew when the connection drops: the network fails, or the server closes it with 1001, 1005, 1006, 1011,
    1012 or 1013, or because the session has grown too old.

    The pause before an attempt doubles from one to the next; half of it is random, so that the clients of a server that
    comes back do not come all at once.
    """

    attempts: int = 10
    first_pause_s: float = 0.25
    longest_pause_s: float = 10.0
    total_s: float = 60.0
    """Longest time from the drop to the new session."""
    keep_s: float = 120.0
    """Audio that has no transcript yet is kept to be sent again, up to so much: 48 kB a second."""

    def pauses(self, chance: Callable[[], float] = random.random) -> Iterator[float]:
        """The pause before each attempt, in seconds."""
        for attempt in range(self.attempts):
            pause_s = min(self.first_pause_s * 2.0**attempt, self.longest_pause_s)
            yield pause_s * (1 + chance()) / 2


RECONNECT = Reconnect()
