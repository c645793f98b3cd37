import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from models.asr.fastconformer.config import EncoderConfig
from tests.training.asr.tones import tones, vocabulary, write_corpus, write_wav
from training.asr.batches import Batches
from training.asr.manifest import read_audio, read_manifest
from training.asr.recipe import Disturbance, Optimisation, Recipe

ENCODER = EncoderConfig(layers=2, width=16, heads=2, feedforward=32, subsampling_channels=8)


def recipe(join: float = 0.0, silence: float = 0.0) -> Recipe:
    return Recipe(
        28, ENCODER, optimisation=Optimisation(batch_s=8), disturbance=Disturbance(join=join, silence=silence)
    )


def test_a_line_that_is_still_written_is_passed_by(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 3)
    manifest.write_bytes(manifest.read_bytes() + b'{"audio_filepath": "3.w')
    assert [Path(u.audio_filepath).name for u in read_manifest(manifest)] == ["0.wav", "1.wav", "2.wav"]


def test_an_epoch_has_every_utterance_once_in_batches_of_bounded_length(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 30)
    words = sorted(u.text for u in read_manifest(manifest))
    tokens, heard = vocabulary(), list[str]()
    for batch in Batches([manifest], recipe(), tokens, seed=0):
        assert len(batch.mels) == len(batch.frames)
        assert 0 <= batch.mels.shape[1] - int(batch.frames.max()) < 64
        assert batch.mels.shape[1] % 64 == 0
        assert len(batch.frames) == 1 or float(batch.frames.max()) * len(batch.frames) / 100 <= 8 * 1.7
        heard += [tokens.decode(row[:n].tolist()) for row, n in zip(batch.tokens, batch.tokens_each, strict=True)]
        if len(heard) >= 30:
            break
    assert sorted(heard) == words


def test_joined_utterances_say_both_texts(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 12)
    batch = next(iter(Batches([manifest], recipe(join=1.0), vocabulary(), seed=0)))
    assert max(batch.tokens_each) > 2 * len("abc bca")


def test_the_first_steps_take_only_short_utterances(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 40)
    how = Optimisation(batch_s=8, flat_start=3, flat_start_s=1.1)
    batches = Batches([manifest], msgspec.structs.replace(recipe(), optimisation=how), vocabulary(), seed=0)
    first: list[int] = []
    later: list[int] = []
    for number, batch in enumerate(itertools.islice(batches, 12)):
        (first if number < 3 else later).append(int(batch.tokens_each.max()))
    assert max(first) == len(" ab ca")
    assert max(later) == len(" cab abc")


def test_a_silent_utterance_has_no_tokens(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 12)
    batch = next(iter(Batches([manifest], recipe(silence=1.0), vocabulary(), seed=0)))
    assert not batch.tokens_each.any()


def test_the_same_seed_gives_the_same_batches(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, 12)
    first, second = (
        list(itertools.islice(Batches([manifest], recipe(0.5, 0.2), vocabulary(), seed=7), 4)) for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (16_000, 2), (8_000, 1)])
def test_audio_of_any_rate_and_channels_becomes_16_khz_mono(tmp_path: Path, rate_hz: int, channels: int) -> None:
    audio = tones("ab")[:: 16_000 // rate_hz]
    write_wav(tmp_path / "a.wav", audio, rate_hz, channels)
    read = read_audio(str(tmp_path / "a.wav"))
    assert abs(len(read) - 6_400) < 40
    assert np.corrcoef(read[:6_300], tones("ab")[:6_300])[0, 1] > 0.98
