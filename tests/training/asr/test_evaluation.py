import wave
from pathlib import Path

import av
import numpy as np
import pytest

from models.audio import SAMPLE_RATE_HZ
from training.asr.audio import decode
from training.asr.evaluation import LIBRIVOX, PROMPT_TEXTS, PROMPTS, main, transcribed_prompts
from training.asr.synthesise import read_manifest

DATA = Path(__file__).parents[2] / "data"


def test_a_recording_of_another_rate_comes_out_at_16_khz(tmp_path: Path) -> None:
    tone = np.sin(np.arange(24_000) * (2 * np.pi * 400 / 8000)) * 0.5
    with wave.open(str(tmp_path / "tone.wav"), "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes((tone * 32_767).astype("<i2").tobytes())
    audio = decode(tmp_path / "tone.wav")
    assert len(audio) == pytest.approx(3 * SAMPLE_RATE_HZ, abs=100)
    assert np.argmax(np.abs(np.fft.rfft(audio[:SAMPLE_RATE_HZ]))) == 400


def test_g722_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "clip.g722"
    with wave.open(str(DATA / "sense_0880.wav")) as recording, av.open(str(file), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=SAMPLE_RATE_HZ, layout="mono", format="s16")
        samples = np.frombuffer(recording.readframes(-1), "<i2")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert len(decode(file)) == pytest.approx(len(samples), abs=400)


def test_prompts_that_say_no_words_are_left_out() -> None:
    if not PROMPT_TEXTS.exists():
        pytest.skip("no recorded prompts: apt-get install asterisk-core-sounds-en-g722")
    names = {file.stem for _, file, _ in transcribed_prompts()}
    assert "auth-thankyou" in names
    assert "beep" not in names


def test_recordings_are_listed_like_synthetic_speech(tmp_path: Path) -> None:
    if not (LIBRIVOX.exists() and PROMPTS.exists() and PROMPT_TEXTS.exists()):
        pytest.skip("no recordings: apt-get install pocketsphinx-testdata asterisk-core-sounds-en-g722")
    main(tmp_path)
    listed = read_manifest(tmp_path / "human.jsonl")
    lines = {Path(line.audio_filepath).stem: line for line in listed}
    assert len(lines) == len(listed)
    assert lines["librivox-sense_and_sensibility_01_austen_64kb-0880"].text == "he was not an ill disposed young man"
    assert {line.split for line in lines.values()} == {"human"}
    assert all(len(line.text.split()) > 1 and (tmp_path / line.audio_filepath).exists() for line in lines.values())
