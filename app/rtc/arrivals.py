"""RTP packets of an audio stream (RFC 3550) in the order of their making, and the silence between them. Sans-I/O.

A recogniser has no playout clock, so a packet goes on as soon as those before it did. One that is missing is waited for
until a few later ones are there; its time is then passed over as silence, as is time in which the sender is silent
(discontinuous transmission, RFC 7587 section 3.1.3) or absent. Media time is the sender's: clocks may drift apart, and
nothing is cut or stretched for it.
"""

from dataclasses import dataclass
from typing import NamedTuple

CLOCK_HZ = 48_000
MAX_HELD = 3
"""Packets after a missing one that are waited for."""
MAX_JUMP = 1_000
"""A packet number so far from the last is that of a new stream."""
MAX_GAP = 10 * CLOCK_HZ
"""A longer step of the time stamps is no silence but a new beginning."""
ABSENT_S = 0.2
"""Without packets for so long, the sender's silence is counted by our clock."""


class Packet(NamedTuple):
    """What a packet carries. The time stamp of a stream's first has nothing to do with those before it."""

    timestamp: int
    payload: bytes
    first: bool = False


@dataclass
class Counts:
    """Packets so far. Late ones came after they had been given up for lost, or twice."""

    received: int = 0
    lost: int = 0
    late: int = 0


class Arrivals:
    """Packets in the order of their numbers. Methods return what follows what they returned before."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._source: int | None = None
        self._next = 0
        self._first = False
        self._held: dict[int, tuple[int, bytes]] = {}

    @property
    def waiting(self) -> bool:
        """Whether packets are held for one that is missing."""
        return bool(self._held)

    def add(self, source: int, number: int, timestamp: int, payload: bytes) -> list[Packet]:
        """Take a packet of a source (SSRC). `number` and `timestamp` wrap at 16 and 32 bits."""
        self.counts.received += 1
        ended: list[Packet] = []
        distance = _signed(number - self._next, 16)
        if source != self._source or abs(distance) > MAX_JUMP:
            ended = self.release()
            self._source, self._next, self._first, distance = source, number, True, 0
        if distance < 0:
            self.counts.late += 1
            return ended
        self._held[number] = timestamp, payload
        return ended + self._ready(MAX_HELD)

    def release(self) -> list[Packet]:
        """What is held, without waiting any longer."""
        return self._ready(1)

    def _ready(self, enough: int) -> list[Packet]:
        """Packets up to a missing one, and beyond it if `enough` are held."""
        packets: list[Packet] = []
        while self._next in self._held or len(self._held) >= enough:
            missing, number = min((_signed(held - self._next, 16), held) for held in self._held)
            self.counts.lost += missing
            packets.append(Packet(*self._held.pop(number), self._first))
            self._next, self._first = (number + 1) & 0xFFFF, False
        return packets


class MediaTime:
    """How much silence to put between packets for their audio to be where the sender made it, in samples at 48 kHz."""

    def __init__(self) -> None:
        self._end: int | None = None
        """Time stamp of what follows the last packet at once."""
        self._length = 0
        """Of the last packet."""
        self._filled = 0
        """Silence by our clock since the last packet."""
        self._ahead = 0
        """Silence of stalls that was none, since the packets came after all. Later silence is shorter for it."""
        self._heard_at: float | None = None

    def before(self, packet: Packet, now: float) -> int:
        """Silence that precedes a packet, of which `played` will tell the length."""
        gap = 0 if self._end is None else _signed(packet.timestamp - self._end, 32)
        silence = 0
        if not packet.first and abs(gap) <= MAX_GAP:
            owed = gap - self._filled - self._ahead
            silence, self._ahead = max(0, owed), min(max(0, -owed), MAX_GAP)
        self._end, self._filled, self._heard_at = packet.timestamp, 0, now
        return silence

    def played(self, samples: int) -> None:
        """How long the last packet was."""
        assert self._end is not None
        self._end += samples
        self._length = samples

    def is_absent(self, now: float) -> bool:
        """Whether no packet has come for a while."""
        return self._heard_at is not None and now - self._heard_at >= ABSENT_S

    def absence(self, now: float) -> int:
        """Silence of an absent sender since it was last asked for."""
        if self._heard_at is None or not self.is_absent(now):
            return 0
        silence = round((now - self._heard_at) * CLOCK_HZ) - self._length - self._filled
        silence = min(max(0, silence), MAX_GAP)
        self._filled += silence
        return silence


def _signed(difference: int, bits: int) -> int:
    """A difference of numbers that wrap, between minus and plus half their range (RFC 1982)."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
