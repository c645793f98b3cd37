"""FastConformer as a stream whose words an n-gram model weighs: they may change while they are said."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from models.asr.fastconformer.checkpoint import load
from models.asr.fastconformer.decoder import Heard, Token
from models.asr.fastconformer.decoders import make_decoder
from models.asr.fastconformer.model import FastConformerStream
from models.asr.fastconformer.ngram import FILE, Fusion, write
from models.asr.fastconformer.streaming import chunk_mels
from models.asr.fastconformer.timing import FRAME_SAMPLES
from models.asr.fastconformer.utterances import Track, Utterance
from models.asr.fastconformer.weights import CheckpointError
from models.audio import SAMPLE_RATE_HZ
from tests.models.asr.fastconformer import small
from tests.models.asr.fastconformer.talkative import checkpoint, mels_of, talkative
from tests.models.asr.fastconformer.test_model import Speech, final, follow, hear, partials, transcribe

CAPACITY = 3
LOOKAHEAD_MS = 80


@pytest.fixture(scope="module")
def saved(speech: Speech, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = checkpoint(talkative(speech("sense_0880")), tmp_path_factory.mktemp("fastconformer") / "ngram")
    write(directory / FILE, small.arcs(), Fusion(0.2, 5.0))
    return directory


@pytest.fixture(scope="module")
def model(saved: Path) -> FastConformerStream:
    return FastConformerStream(saved, CAPACITY, window_s=16.0)


@torch.inference_mode()
def offline(directory: Path, pcm: bytes) -> str:
    """The text of a whole clip, heard at once."""
    loaded = load(directory)
    encoded, _ = loaded.network(*mels_of(loaded.network, pcm), LOOKAHEAD_MS // 80)
    (heard,) = make_decoder(loaded, 1).step([0], encoded)
    return loaded.vocabulary.decode([token.id for token in (*heard.certain, *heard.likely)])


def test_text_only_grows_while_it_is_said_and_is_right_at_the_end(
    model: FastConformerStream, saved: Path, speech: Speech
) -> None:
    pcm = speech("sense_0880")
    model.open(0, {})
    model.push(0, follow(4, lookahead_ms=LOOKAHEAD_MS))
    texts = ["", *partials(hear(model, 0, pcm))]
    said = final(model, 0, transcribe(4, 0, len(pcm) // 2)).meta
    assert all(latter.startswith(former) for former, latter in pairwise(texts))
    assert len(set(texts)) > 8
    assert said["text"] == offline(saved, pcm)
    assert len(said["words"]) == len(said["text"].split())
    again = final(model, 0, transcribe(4, 0, len(pcm) // 2)).meta
    assert again == said


def test_a_stream_moves_in_the_middle_of_a_word(model: FastConformerStream, speech: Speech) -> None:
    pcm = speech("sense_0880")
    half = len(pcm) // 4 * 2
    results = []
    for slot, moved in ((0, False), (1, True)):
        model.open(slot, {})
        model.push(slot, follow(4, lookahead_ms=LOOKAHEAD_MS))
        texts = partials(hear(model, slot, pcm[:half]))
        if moved:
            model.open(2, {})
            model.restore(2, model.snapshot(slot))
            slot = 2
        texts += partials(hear(model, slot, pcm[half:], half // 2))
        results.append((texts, final(model, slot, transcribe(4, 0, len(pcm) // 2)).meta))
    assert results[0] == results[1]


def test_what_is_heard_anew_takes_nothing_back(model: FastConformerStream, speech: Speech) -> None:
    """The final text of its first half is asked for after all of it was heard, and then it goes on."""
    pcm = speech("sense_0880")
    model.open(0, {})
    model.push(0, follow(4, lookahead_ms=LOOKAHEAD_MS))
    outputs = hear(model, 0, pcm)
    final(model, 0, transcribe(4, 0, len(pcm) // 2 - 2 * SAMPLE_RATE_HZ))
    model.push(0, follow(4, lookahead_ms=LOOKAHEAD_MS))
    outputs += hear(model, 0, bytes(SAMPLE_RATE_HZ), len(pcm) // 2)
    assert all(latter.startswith(former) for former, latter in pairwise(partials(outputs)))
    assert all(former.pts < latter.pts for former, latter in pairwise(outputs))


def test_an_end_that_is_that_of_a_chunk(model: FastConformerStream, saved: Path, speech: Speech) -> None:
    """Nothing remains to be heard, and what seemed to follow is said."""
    end = FRAME_SAMPLES // 8 * (chunk_mels(1, first=True) + 12 * chunk_mels(1, first=False))
    pcm = speech("sense_0880")
    model.open(0, {})
    model.push(0, follow(4, lookahead_ms=LOOKAHEAD_MS))
    texts = partials(hear(model, 0, pcm[: 2 * end + 1_000]))
    said = final(model, 0, transcribe(4, 0, end)).meta["text"]
    assert len(said) > len(texts[-1])


def test_likely_tokens_are_told_when_they_have_settled() -> None:
    track = Track(Utterance(0, 0, 1))
    one, two, other, last = Token(1, 0, -1.0), Token(2, 2, -1.0), Token(3, 2, -1.0), Token(4, 5, -1.0)
    track.hear(25, Heard([], [one, two]))
    assert (track.frames, track.told) == (4, [one])
    track.hear(16, Heard([], [one, two, last]))
    assert track.told == [one, two]
    track.hear(16, Heard([one], [other, last]))
    assert track.told == [one, two, last]
    assert [*track.tokens, *track.likely] == [one, other, last]


def test_without_a_ctc_head(tmp_path: Path) -> None:
    checkpoint(small.network(ctc=False), tmp_path)
    write(tmp_path / FILE, small.arcs(), Fusion())
    with pytest.raises(CheckpointError, match="only a CTC head"):
        FastConformerStream(tmp_path, CAPACITY)
