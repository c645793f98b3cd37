"""Opus there and back, and the tracks of a call without a call."""

import asyncio
import random

import numpy as np
from aiortc.rtp import RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.realtime.playout import FRAME_BYTES
from app.rtc.audio import AudioIn, AudioOut
from app.rtc.opus import SILENCE, OpusDecoder, OpusEncoder
from tests.e2e.speech import clip

RATE_HZ = 16_000
FRAME = 960
"""20 ms at 48 kHz."""
MAX_PACKET = 5_760
"""120 ms at 48 kHz, the longest packet of RFC 6716."""
LAG_MS = 20
"""What the resampler and the codec may hold back."""


def tone(seconds: float) -> bytes:
    """440 Hz, 24 kHz."""
    times = np.arange(round(seconds * 24_000)) / 24_000
    return (8_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


def packets(pcm: bytes) -> list[bytes]:
    encoder = OpusEncoder()
    frames = (pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm), FRAME_BYTES))
    return [encoder.encode(frame.ljust(FRAME_BYTES, b"\0")) for frame in frames]


def samples(pcm: bytes | bytearray) -> NDArray[np.float64]:
    return np.frombuffer(bytes(pcm), "<i2").astype(np.float64)


def snr_db(heard: NDArray[np.float64]) -> float:
    """How far a tone of 440 Hz, whatever its phase, is above the rest."""
    times = 2 * np.pi * 440 * np.arange(len(heard)) / RATE_HZ
    basis = np.stack([np.sin(times), np.cos(times)], 1)
    amplitudes, *_ = np.linalg.lstsq(basis, heard, rcond=None)
    rest = heard - basis @ amplitudes
    return float(10 * np.log10(np.square(basis @ amplitudes).sum() / np.square(rest).sum()))


class Ear:
    """What a call hears of packets."""

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.track = AudioIn(self.pcm.extend)

    def take(self, number: int, payload: bytes, timestamp: int | None = None) -> None:
        packet = RtpPacket(
            sequence_number=number & 0xFFFF, timestamp=number * FRAME if timestamp is None else timestamp
        )
        packet.ssrc = 1
        packet._data = payload  # type: ignore[attr-defined]
        assert self.track.add(packet) == (False, None)

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / RATE_HZ


def test_a_tone_survives_the_codec() -> None:
    decoder = OpusDecoder()
    decoded = [decoder.decode(packet) for packet in packets(tone(1.0))]
    assert {length for length, _ in decoded} == {FRAME}
    heard = samples(b"".join(pcm for _, pcm in decoded))
    assert 0 <= RATE_HZ - len(heard) <= RATE_HZ * LAG_MS / 1_000
    assert snr_db(heard[RATE_HZ // 5 :]) > 15
    assert abs(np.abs(heard[RATE_HZ // 5 :]).max() / 8_000 - 1) < 0.2


def test_the_packet_of_silence_is_silent() -> None:
    length, pcm = OpusDecoder().decode(SILENCE)
    assert length == FRAME
    assert np.abs(samples(pcm)).max(initial=0) <= 1


def test_a_packet_of_speech_is_small() -> None:
    sizes = [len(packet) for packet in packets(clip("question"))]
    assert sum(sizes) / len(sizes) < 150


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_garbage_is_heard_as_nothing_or_noise(payloads: list[bytes]) -> None:
    decoder = OpusDecoder()
    for payload in payloads:
        length, pcm = decoder.decode(payload)
        assert 0 <= length <= MAX_PACKET
        assert len(pcm) <= MAX_PACKET
    assert decoder.decode(SILENCE)[0] == FRAME


def test_what_is_lost_is_silent_and_takes_its_time() -> None:
    ear, lost = Ear(), set(random.Random(1).sample(range(5, 245), 25))
    for number, payload in enumerate(packets(tone(5.0))):
        if number not in lost:
            ear.take(number, payload)
    assert abs(ear.seconds - 5.0) < LAG_MS / 1_000
    assert (ear.track.counts.received, ear.track.counts.lost) == (225, 25)
    levels = np.abs(samples(ear.pcm)[: RATE_HZ * 4]).reshape(-1, 80).max(1)
    assert 0.05 < (levels < 500).mean() < 0.15


def test_packets_out_of_order_are_heard_in_order() -> None:
    spoken = packets(clip("question"))
    straight, crossed = Ear(), Ear()
    for number, payload in enumerate(spoken):
        straight.take(number, payload)
    for first in range(0, len(spoken) - 1, 2):
        for number in (first + 1, first) if first else (first, first + 1):
            crossed.take(number, spoken[number])
    length = min(len(straight.pcm), len(crossed.pcm))
    assert straight.pcm[:length] == crossed.pcm[:length]
    assert len(straight.pcm) - length <= RATE_HZ * 0.06


def test_what_cannot_be_decoded_takes_its_time() -> None:
    ear = Ear()
    for number, payload in enumerate(packets(tone(1.0))):
        ear.take(number, b"\xff\xff" if number % 10 == 5 else payload)
    assert abs(ear.seconds - 1.0) < LAG_MS / 1_000


async def test_a_sender_that_falls_silent_is_heard_to_be_silent() -> None:
    ear = Ear()
    watching = asyncio.create_task(ear.track.watch())
    for number, payload in enumerate(packets(tone(0.2))):
        ear.take(number, payload)
    while ear.seconds < 0.6:
        assert not watching.done()
        await asyncio.sleep(0.05)
    watching.cancel()
    assert np.abs(samples(ear.pcm)[RATE_HZ * 3 // 10 :]).max() == 0


async def test_speech_is_followed_by_silence_at_full_rate_and_then_by_little() -> None:
    """What the encoder holds back is sent, too."""
    frames = 3
    speech = [tone(0.02)] * frames
    track = AudioOut(lambda: speech.pop(0) if speech else None)
    sent = [await track.recv() for _ in range(frames + 27)]
    times = [packet.pts // FRAME for packet in sent if packet.pts is not None]
    assert times == [*range(1, frames + 26), frames + 40, frames + 60]
    payloads = [bytes(packet) for packet in sent]
    assert SILENCE not in payloads[: frames + 1]
    assert set(payloads[frames + 1 :]) == {SILENCE}
