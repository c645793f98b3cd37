"""Real synthesisers: those of Debian are skipped, with a reason, where they are not installed."""

import shutil
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.audio import SAMPLE_RATE_HZ
from training.asr.engines import Engine, Espeak, Festival, Flite, Kokoro, Spoken, is_sane, plain
from training.asr.synthesise import Run, Shard, gather, make_shard, read_manifest, utterances, work
from training.asr.texts import Text, spoken
from training.asr.voices import Voice

TEXTS = [
    Text(f"Number {number} is next.", spoken(f"Number {number} is next.") or "", "test", False) for number in range(90)
]


class Tone:
    """Says everything as a tone; `None` for what has `silent` in it."""

    def __init__(self, silent: str = "never") -> None:
        self._silent = silent

    def say(self, sentences: Sequence[tuple[str, Voice]]) -> list[Spoken | None]:
        tone = Spoken(np.sin(np.arange(3 * SAMPLE_RATE_HZ, dtype=np.float32)))
        return [None if self._silent in text else tone for text, _ in sentences]


def test_numbers_reach_every_synthesiser_as_words() -> None:
    assert plain("It's 5:30 pm — (call) Mr. Smith…") == "It's five thirty P M, call mister Smith."


def test_a_shard_lists_what_it_holds(tmp_path: Path) -> None:
    shard = Shard(tmp_path, "train", "flite", 2)
    lines = make_shard(shard, Tone(), TEXTS, seed=1, limit=None)
    assert read_manifest(shard.manifest) == read_manifest(tmp_path / "train.jsonl") == lines
    assert sum(line.text.count("number") for line in lines) == 64
    for line in lines:
        with wave.open(str(tmp_path / line.audio_filepath)) as recording:
            assert recording.getparams()[:3] == (1, 2, SAMPLE_RATE_HZ)
            assert recording.getnframes() / SAMPLE_RATE_HZ == line.duration == 3


def test_what_cannot_be_said_is_left_out(tmp_path: Path) -> None:
    lines = make_shard(Shard(tmp_path, "train", "flite", 0), Tone("7"), TEXTS, seed=1, limit=None)
    assert lines
    assert not any("seven" in line.text for line in lines)


def test_a_shard_is_the_same_again_and_shards_differ(tmp_path: Path) -> None:
    first, second = (Shard(tmp_path, "train", "flite", number) for number in (0, 1))
    said = [[written for written, *_ in utterances(TEXTS * 9, shard, seed=1)] for shard in (first, first, second)]
    assert said[0] == said[1] != said[2]
    assert any(written.count(".") > 1 for written in said[0])


def test_a_stop_file_ends_a_shard_early_and_it_counts(tmp_path: Path) -> None:
    (tmp_path / "STOP").touch()
    shard = Shard(tmp_path, "train", "flite", 0)
    make_shard(shard, Tone(), TEXTS, seed=1, limit=None)
    assert shard.manifest.exists()


def test_a_manifest_is_gathered_from_finished_shards_alone(tmp_path: Path) -> None:
    for number in (0, 1):
        make_shard(Shard(tmp_path, "train", "flite", number), Tone(), TEXTS, seed=1, limit=5)
    Shard(tmp_path, "train", "flite", 1).manifest.unlink()
    assert len(gather(tmp_path, "train")) == len(read_manifest(tmp_path / "train.jsonl")) == 5


@pytest.mark.parametrize(("seconds", "words", "sane"), [(1.0, 2, True), (0.2, 8, False), (30.0, 3, False)])
def test_audio_of_another_length_than_its_words_is_not_kept(seconds: float, words: int, sane: bool) -> None:
    audio = np.full(round(seconds * SAMPLE_RATE_HZ), 0.1, np.float32)
    assert is_sane(Spoken(audio), words) is sane
    assert not is_sane(Spoken(audio * 0), words)


@pytest.mark.parametrize(
    ("program", "engine", "voice"),
    [
        ("flite", Flite, Voice("flite", "slt")),
        ("festival", Festival, Voice("festival", "kal_diphone")),
        ("espeak-ng", Espeak, Voice("espeak", "en-gb+f3")),
    ],
)
def test_a_synthesiser_of_debian_speaks_as_fast_as_told(program: str, engine: type[Engine], voice: Voice) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: apt-get install {program}")
    shifted = Voice(voice.engine, voice.name, stretch=1.0, shift=1.15)
    slow = Voice(voice.engine, voice.name, stretch=1.3)
    text = "The quick brown fox jumps over the lazy dog."
    said = engine().say([(text, voice), (text, shifted), (text, slow)])
    lengths = [len(spoken.audio) for spoken in said if spoken]
    assert len(lengths) == 3
    assert all(spoken and is_sane(spoken, 9) for spoken in said)
    assert lengths[1] == pytest.approx(lengths[0], rel=0.12)
    assert lengths[2] > 1.15 * lengths[0]


def test_kokoro_tells_when_each_word_is_said(checkpoint: Callable[[str], Path]) -> None:
    kokoro = Kokoro(checkpoint("kokoro-voices") / "voices.safetensors")
    text = "Well, the U.S. paid $25 in 1999."
    (said,) = kokoro.say([(text, Voice("kokoro", "af_heart*0.5+bm_fable*0.5", stretch=1.2))])
    assert said
    assert said.alignment
    assert " ".join(word for word, _, _ in said.alignment) == spoken(text)
    times = [time for _, start, end in said.alignment for time in (start, end)]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < len(said.audio) / SAMPLE_RATE_HZ


def test_an_interrupted_run_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: apt-get install espeak-ng")
    texts = tmp_path / "texts.jsonl"
    texts.write_bytes(b"\n".join(map(msgspec.json.encode, TEXTS)))
    run = Run(texts, tmp_path, "train", ("espeak",), 0.01, None, 1, 1)
    work(run, 0)
    first = read_manifest(tmp_path / "train.jsonl")
    work(run, 0)
    assert read_manifest(tmp_path / "train.jsonl") == first
    work(run._replace(hours=sum(line.duration for line in first) / 3600 + 0.001), 0)
    assert read_manifest(tmp_path / "train.jsonl")[: len(first)] == first
    assert len(gather(tmp_path, "train")) > len(first)
