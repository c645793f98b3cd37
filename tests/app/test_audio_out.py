"""Playing the items of a conversation, and knowing how much of them was heard."""

import asyncio
import wave
from pathlib import Path

from app.audio_out import WavFile
from millstream.playback import BYTES_PER_S, Cut


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def audio(seconds: float, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * round(seconds * BYTES_PER_S / 2)


def played(path: Path) -> bytes:
    with wave.open(str(path)) as written:
        assert (written.getframerate(), written.getnchannels(), written.getsampwidth()) == (24_000, 1, 2)
        pcm: bytes = written.readframes(written.getnframes())
        return pcm


def test_all_is_played(tmp_path: Path) -> None:
    playback = WavFile(tmp_path / "a.wav")
    playback.play(audio(1), "item")
    playback.play(audio(2, 2), "item")
    asyncio.run(playback.finish())
    playback.close()
    assert played(tmp_path / "a.wav") == audio(1) + audio(2, 2)


def test_interrupted(tmp_path: Path) -> None:
    clock = Clock()
    playback = WavFile(tmp_path / "a.wav", clock)
    playback.play(audio(1), "item")
    clock.now += 0.25
    playback.play(audio(1), "item")
    clock.now += 0.5
    assert playback.stop() == [Cut("item", 0.75)]
    playback.play(audio(1), "item")
    assert playback.stop() == []
    playback.play(audio(0.5, 2), "next")
    playback.close()
    assert played(tmp_path / "a.wav") == audio(0.75) + audio(0.5, 2)


def test_what_was_played_to_its_end_is_not_cut(tmp_path: Path) -> None:
    clock = Clock()
    playback = WavFile(tmp_path / "a.wav", clock)
    playback.play(audio(1), "item")
    clock.now += 1.5
    assert playback.stop() == []
    playback.close()
    assert played(tmp_path / "a.wav") == audio(1)


def test_a_gap_between_pieces_is_not_played_time(tmp_path: Path) -> None:
    clock = Clock()
    playback = WavFile(tmp_path / "a.wav", clock)
    playback.play(audio(1), "item")
    clock.now += 3
    playback.play(audio(1), "item")
    clock.now += 0.5
    assert playback.stop() == [Cut("item", 1.5)]


def test_two_items_interrupted(tmp_path: Path) -> None:
    clock = Clock()
    playback = WavFile(tmp_path / "a.wav", clock)
    playback.play(audio(1), "first")
    playback.play(audio(1, 2), "second")
    clock.now += 0.5
    assert playback.stop() == [Cut("first", 0.5), Cut("second", 0.0)]
    playback.close()
    assert played(tmp_path / "a.wav") == audio(0.5)


def test_no_file_for_no_audio(tmp_path: Path) -> None:
    WavFile(tmp_path / "a.wav").close()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b.wav").write_bytes(b"precious")
    WavFile(tmp_path / "b.wav").close()
    assert (tmp_path / "b.wav").read_bytes() == b"precious"
