"""The audio that a server may have to be sent again."""

from collections.abc import Iterator
from typing import Any


class Tape:
    """Audio, and what was said at places in it, until it is covered by transcripts. Positions are bytes from the
    beginning of the session; of what is not covered the latest `limit` bytes are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pcm = bytearray()
        self._marks: list[tuple[int, dict[str, Any]]] = []
        self.begins = 0
        """Position of the first byte that is kept."""
        self.covered = 0
        """Position up to which all is transcribed."""

    @property
    def ends(self) -> int:
        """Position of the next byte."""
        return self.begins + len(self._pcm)

    def add(self, pcm: bytes) -> None:
        """Go on with audio."""
        self._pcm += pcm
        self._forget(self.ends - self._limit)

    def mark(self, event: dict[str, Any]) -> None:
        """An event was sent here."""
        self._marks.append((self.ends, event))

    def cover(self, position: int) -> None:
        """All before a position is transcribed."""
        self.covered = max(self.covered, min(position, self.ends))
        self._forget(self.covered)

    def rewind(self) -> int:
        """Begin anew with what is left; returns how many bytes before it are neither kept nor covered."""
        lost, self.covered = self.begins - self.covered, self.begins
        return lost

    def parts(self) -> Iterator[bytes | dict[str, Any]]:
        """What is left: audio, and events where they were sent."""
        position = self.begins
        for place, event in self._marks:
            if place > position:
                yield bytes(self._pcm[position - self.begins : place - self.begins])
            yield event
            position = place
        if position < self.ends:
            yield bytes(self._pcm[position - self.begins :])

    def _forget(self, position: int) -> None:
        if position > self.begins:
            del self._pcm[: position - self.begins]
            self.begins = position
        self._marks = [(place, event) for place, event in self._marks if place > self.covered and place >= self.begins]
