from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rtc.arrivals import ABSENT_S, CLOCK_HZ, MAX_GAP, MAX_HELD, MAX_JUMP, Arrivals, Counts, MediaTime, Packet

FRAME = 960
FRAME_S = 0.02
SOURCE = 7


@dataclass
class Ear:
    """Hears packets as a call does; each is a frame long and carries its number."""

    arrivals: Arrivals = field(default_factory=Arrivals)
    time: MediaTime = field(default_factory=MediaTime)
    now: float = 100.0
    number: int = 0
    """What the first packet's number is."""
    timestamp: int = 0
    """What the first packet's time stamp is."""
    places: dict[int, int] = field(default_factory=dict)
    """Where each packet was heard, in samples of media time."""
    end: int = 0

    def send(self, *frames: int, gap: int = 0, source: int = SOURCE) -> None:
        """Frames arrive at once; of those whose time stamps are later by `gap`."""
        for frame in frames:
            number = (self.number + frame) & 0xFFFF
            timestamp = (self.timestamp + frame * FRAME + gap) & 0xFFFFFFFF
            self._hear(self.arrivals.add(source, number, timestamp, str(frame).encode()))

    def talk(self, frames: Iterable[int], gap: int = 0) -> None:
        """Frames arrive one by one, as they are spoken."""
        for frame in frames:
            self.now += FRAME_S
            self.send(frame, gap=gap)

    def wait(self, seconds: float, step_s: float = 0.1) -> int:
        """Nothing comes. Returns the silence that is heard instead."""
        before = self.end
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now = min(self.now + step_s, until)
            if self.time.is_absent(self.now):
                self._hear(self.arrivals.release())
                self.end += self.time.absence(self.now)
        return self.end - before

    def _hear(self, packets: list[Packet]) -> None:
        for packet in packets:
            self.end += self.time.before(packet, self.now)
            self.places[int(packet.payload)] = self.end
            self.end += FRAME
            self.time.played(FRAME)

    @property
    def order(self) -> list[int]:
        return list(self.places)

    @property
    def counts(self) -> Counts:
        return self.arrivals.counts


def on_time(ear: Ear) -> bool:
    """Whether every packet was heard where its sender had it, counted from the first."""
    first, place = next(iter(ear.places.items()))
    return all(where - place == (frame - first) * FRAME for frame, where in ear.places.items())


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.integers(0, MAX_HELD - 1), min_size=1, max_size=60),
)
def test_packets_that_overtake_each_other_are_put_in_order(number: int, timestamp: int, delays: list[int]) -> None:
    ear = Ear(number=number, timestamp=timestamp)
    ear.send(0)
    ear.send(*sorted(range(1, len(delays) + 1), key=lambda frame: frame + delays[frame - 1]))
    ear.wait(2 * ABSENT_S)
    assert ear.order == list(range(len(delays) + 1))
    assert on_time(ear)
    assert ear.counts == Counts(len(delays) + 1)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.sets(st.integers(1, 98)))
def test_the_time_of_lost_packets_is_silence(number: int, timestamp: int, lost: set[int]) -> None:
    ear = Ear(number=number, timestamp=timestamp)
    ear.talk(frame for frame in range(100) if frame not in lost)
    ear.wait(2 * ABSENT_S)
    assert ear.order == [frame for frame in range(100) if frame not in lost]
    assert on_time(ear)
    assert (ear.counts.received, ear.counts.lost, ear.counts.late) == (100 - len(lost), len(lost), 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)), max_size=50))
def test_arbitrary_packets_are_each_heard_once_or_counted(packets: list[tuple[int, int, int]]) -> None:
    arrivals, time = Arrivals(), MediaTime()
    heard: list[Packet] = []
    for now, (source, number, timestamp) in enumerate(packets):
        heard += arrivals.add(source, number, timestamp, b"x")
        assert len(arrivals._held) <= MAX_HELD
        assert 0 <= time.absence(now * 0.3) <= MAX_GAP
    heard += arrivals.release()
    for packet in heard:
        assert 0 <= time.before(packet, 100.0) <= MAX_GAP
        time.played(FRAME)
    twice = len(packets) - len(heard) - arrivals.counts.late
    assert 0 <= twice <= len(packets) // 2
    assert not arrivals.waiting


def test_a_missing_packet_is_waited_for_until_some_later_ones_are_there() -> None:
    ear = Ear()
    ear.send(0, 2, 3)
    assert ear.order == [0]
    ear.send(4)
    assert ear.order == [0, 2, 3, 4]
    ear.send(1)
    assert ear.counts == Counts(received=5, lost=1, late=1)
    assert ear.order == [0, 2, 3, 4]


def test_a_missing_packet_that_comes_in_time_is_not_lost() -> None:
    ear = Ear()
    ear.send(0, 2, 3, 1)
    assert ear.order == [0, 1, 2, 3]
    assert on_time(ear)
    assert ear.counts == Counts(received=4)


def test_nobody_waits_for_a_missing_packet_of_a_sender_that_has_stopped() -> None:
    ear = Ear()
    ear.talk([0, 2])
    ear.wait(0.3)
    assert ear.order == [0, 2]
    assert ear.counts.lost == 1


def test_a_packet_that_comes_twice_is_heard_once() -> None:
    ear = Ear()
    ear.send(0, 0, 1, 1, 2)
    assert ear.order == [0, 1, 2]
    assert ear.counts.late == 2


def test_in_discontinuous_transmission_silence_keeps_the_senders_time() -> None:
    """400 ms between packets: some of it is counted by our clock, the rest when the next packet tells."""
    ear = Ear()
    ear.send(0)
    for pause in range(1, 20):
        ear.wait(0.4)
        ear.send(pause, gap=19 * FRAME * pause)
    assert ear.counts.lost == 0
    assert abs(ear.end - (19 * 0.4 + FRAME_S) * CLOCK_HZ) <= FRAME


def test_the_silence_of_an_absent_sender_is_heard_as_it_passes() -> None:
    ear = Ear()
    ear.talk(range(10))
    assert ear.wait(ABSENT_S / 2) == 0
    assert ear.wait(5.0 - ABSENT_S / 2) == round((5.0 - FRAME_S) * CLOCK_HZ)
    ear.send(10, gap=5 * CLOCK_HZ - FRAME)
    assert ear.places[10] - ear.places[9] == 5 * CLOCK_HZ


def test_a_stall_of_the_network_costs_no_time_for_long() -> None:
    """What was taken for silence was none: later silence makes up for it."""
    ear = Ear()
    ear.talk(range(10))
    stalled = ear.wait(1.0)
    assert stalled > 0.9 * CLOCK_HZ
    ear.send(*range(10, 60))
    assert ear.places[10] - ear.places[9] == stalled + FRAME
    assert ear.places[59] - ear.places[10] == 49 * FRAME
    ear.send(60, gap=2 * CLOCK_HZ)
    assert ear.places[60] - ear.places[0] == 60 * FRAME + 2 * CLOCK_HZ


def test_packets_of_another_source_begin_anew() -> None:
    ear = Ear()
    ear.talk([0, 1, 3])
    ear.send(*range(4, 8), source=SOURCE + 1, gap=12_345)
    assert ear.order == [0, 1, 3, 4, 5, 6, 7]
    assert ear.places[4] == ear.places[3] + FRAME
    assert ear.counts.late == 0


@pytest.mark.parametrize("jump", [MAX_JUMP + 5, -MAX_JUMP - 5])
def test_a_jump_of_the_numbers_begins_anew(jump: int) -> None:
    ear = Ear(number=5_000)
    ear.talk(range(5))
    ear.talk(range(4 + jump, 8 + jump))
    assert ear.order[5:] == list(range(4 + jump, 8 + jump))
    assert ear.counts.late == ear.counts.lost == 0
    assert ear.end == 9 * FRAME


@pytest.mark.parametrize("gap", [MAX_GAP + FRAME, -5 * CLOCK_HZ - FRAME, -MAX_GAP - FRAME])
def test_a_leap_of_the_time_stamps_is_no_silence(gap: int) -> None:
    ear = Ear()
    ear.talk(range(5))
    ear.talk(range(5, 10), gap=gap)
    assert ear.end == 10 * FRAME


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_for_an_hour_adds_no_delay(ppm: int) -> None:
    """Every packet is heard as it comes, and an hour of the sender stays an hour."""
    ear = Ear()
    frames = round(3_600 / FRAME_S)
    for frame in range(frames):
        ear.now += FRAME_S * (1 - ppm * 1e-6)
        ear.send(frame)
        assert ear.time.absence(ear.now) == 0
    assert ear.end == frames * FRAME
    assert len(ear.places) == frames
