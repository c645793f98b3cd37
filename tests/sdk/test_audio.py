"""Microphone and loudspeaker, with a stand-in for the sound card."""

import queue
import sys

import pytest

from millstream.audio import Cut, DeviceError, Microphone, Speaker, wav_pieces
from tests.e2e.speech import DATA
from tests.sdk import sounddevice

SECOND = b"\7\0" * 24_000


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice)
    monkeypatch.setattr(sounddevice, "played", queue.Queue())


@pytest.mark.usefixtures("sound_card")
async def test_microphone() -> None:
    with Microphone() as microphone:
        first = await anext(microphone)
        second = next(microphone)
    assert first == second == b"\1\0" * 2_400
    assert all([piece == first async for piece in microphone])


@pytest.mark.usefixtures("sound_card")
async def test_all_is_played_without_gaps() -> None:
    with Speaker() as speaker:
        speaker.play(SECOND[:9_600], "a")
        speaker.play(SECOND[:4_801], "a")
        speaker.play(SECOND[4_801:9_600], "b")
        assert 0.3 < speaker.remaining_s < 0.5
        await speaker.finish()
        assert speaker.remaining_s == 0
        assert speaker.stop() == []
        heard = b""
        while heard.count(b"\7") < 9_600:  # the stand-in is no more punctual than its thread
            heard += sounddevice.played.get(timeout=10)
    assert heard.strip(b"\0") == SECOND[:19_200].strip(b"\0")


@pytest.mark.usefixtures("sound_card")
def test_the_user_begins_to_speak() -> None:
    with Speaker() as speaker:
        speaker.play(SECOND, "a")
        speaker.play(SECOND, "b")
        assert sounddevice.played.get()
        (a, b) = speaker.stop()
        speaker.play(SECOND, "a")
        assert speaker.remaining_s == 0
        speaker.play(SECOND[:4_800], "c")
        (c,) = speaker.stop()
    assert (a.item, b, c.item) == ("a", Cut("b", 0.0), "c")
    assert 0 <= a.played_s < 1


@pytest.mark.usefixtures("sound_card")
@pytest.mark.parametrize(("device", "word"), [(Microphone, "microphone"), (Speaker, "loudspeaker")])
def test_no_such_device(device: type[Microphone] | type[Speaker], word: str) -> None:
    with pytest.raises(DeviceError, match=f"cannot open the {word}: no device 7"):
        device(7)


@pytest.mark.parametrize("device", [Microphone, Speaker])
def test_without_the_extra(device: type[Microphone] | type[Speaker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[audio\]'"):
        device()


def test_files_that_are_no_microphone() -> None:
    for path, word in ((DATA / "transcripts.toml", "no WAV file"), (DATA / "sense_0930.wav", "not 24 kHz mono")):
        with pytest.raises(DeviceError, match=word):
            next(wav_pieces(path))
