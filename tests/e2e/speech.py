"""Recorded speech for real clients: clips in any format, silence, pacing, and how right a transcript is."""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Iterable
from io import BytesIO
from pathlib import Path
from typing import Literal

import av
import jiwer
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream

DATA = Path(__file__).parents[1] / "data"
REFERENCE: dict[str, str] = {
    name: text
    for source in ("transcripts.toml", "synthetic.toml")
    for name, text in tomllib.loads((DATA / source).read_text()).items()
}
"""Reference text of each clip, by name."""
RATE_HZ = 24_000
SAMPLE_BYTES = 2
PIECE_S = 0.1
FAST = 10.0
"""Times real time; a session sent faster than its worker listens is held back by its credit."""
_NORMAL = {"mr": "mister"}


def clip(name: str, rate: int = RATE_HZ) -> bytes:
    """A clip of `tests/data` as mono int16 PCM."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    pcm = bytearray()
    with av.open(str(DATA / f"{name}.wav")) as container:
        frames: Iterable[av.AudioFrame | None] = [*container.decode(audio=0), None]
        for frame in frames:
            for resampled in resampler.resample(frame):
                pcm += resampled.to_ndarray().tobytes()
    return bytes(pcm)


def silence(seconds: float, rate: int = RATE_HZ) -> bytes:
    """Digital silence."""
    return bytes(round(seconds * rate) * SAMPLE_BYTES)


def in_a_row(names: Iterable[str], gap_s: float, rate: int = RATE_HZ) -> bytes:
    """Clips one after the other, each followed by a gap."""
    return b"".join(clip(name, rate) + silence(gap_s, rate) for name in names)


def words(names: Iterable[str]) -> str:
    """What is said in clips one after the other."""
    return " ".join(REFERENCE[name] for name in names)


def seconds(pcm: bytes, rate: int = RATE_HZ) -> float:
    """Duration of mono int16 PCM."""
    return len(pcm) / SAMPLE_BYTES / rate


def g711(pcm: bytes, law: Literal["pcm_mulaw", "pcm_alaw"]) -> bytes:
    """8 kHz mono int16 PCM as G.711."""
    encoder = AudioCodecContext.create(law, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", "s16"
    packets = [*encoder.encode(_frame(pcm, 8_000)), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def file(
    pcm: bytes, container: str, codec: str, rate: int = RATE_HZ, channels: Literal[1, 2] = 1, video: bool = False
) -> bytes:
    """Mono int16 PCM at 24 kHz as an encoded media file; with `video`, a black picture beside it."""
    written = BytesIO()
    with av.open(written, "w", format=container) as output:
        pictures = output.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p") if video else None
        sound = output.add_stream(codec, rate=rate)
        assert isinstance(sound, AudioStream)
        sound.layout = "mono" if channels == 1 else "stereo"
        if pictures is not None:
            for number in range(round(seconds(pcm) * 5)):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                picture.pts = number
                output.mux(pictures.encode(picture))
            output.mux(pictures.encode(None))
        output.mux(sound.encode(_frame(pcm, RATE_HZ)))
        output.mux(sound.encode(None))
    return written.getvalue()


def said(text: str, reference: str) -> float:
    """Word error rate, whatever the punctuation, hyphens and capitals."""
    return float(jiwer.wer(_normal(reference), _normal(text)))


async def spoken(pcm: bytes, speed: float = FAST, rate: int = RATE_HZ, sample_bytes: int = 2) -> AsyncIterator[bytes]:
    """Pieces of 100 ms at `speed` times real time."""
    loop = asyncio.get_running_loop()
    size = round(PIECE_S * rate) * sample_bytes
    started = loop.time()
    for index, start in enumerate(range(0, len(pcm), size)):
        await asyncio.sleep(max(0.0, started + index * PIECE_S / speed - loop.time()))
        yield pcm[start : start + size]


def _normal(text: str) -> str:
    found = re.findall(r"[a-z0-9']+", text.lower())
    return " ".join(_NORMAL.get(word, word) for word in found)


def _frame(pcm: bytes, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    return frame
