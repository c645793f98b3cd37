"""Networks that are told the language, against transformers' own."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache
from transformers.models.nemotron_asr_streaming.modeling_nemotron_asr_streaming import (
    NemotronAsrStreamingEncoderCausalConvPaddingCache,
)

from models.asr.fastconformer.checkpoint import CheckpointError, Loaded, load, save
from models.asr.fastconformer.config import FrontendConfig
from models.asr.fastconformer.decoder import Token
from models.asr.fastconformer.frontend import Frontend
from models.asr.fastconformer.model import FastConformerStream
from models.asr.fastconformer.streaming import StreamingEncoder
from models.asr.fastconformer.timing import FRAME_SAMPLES
from models.asr.fastconformer.transcript import final
from models.asr.fastconformer.transducer import TransducerDecoder
from models.asr.fastconformer.vocabulary import TokenizersVocabulary
from models.base import Message, Output, StreamError
from tests.models.asr.fastconformer import prompted, small
from tests.models.asr.fastconformer.streams import TOLERANCE, chunks
from tests.models.asr.fastconformer.talkative import mels_of

LENGTHS = [400, 250, 321, 250]
LANGUAGES = ["en", "de", None, "en"]
SLOTS = [4, 0, 2, 1]
LOOKAHEAD = 6


@pytest.fixture(scope="module")
def theirs(mels: Tensor) -> Any:
    return prompted.network(mels)


@pytest.fixture(scope="module")
def loaded(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(prompted.write(tmp_path_factory.mktemp("prompted"), theirs))


@pytest.fixture(scope="module")
def mels() -> Tensor:
    """Nothing after a row's end; the second and the last are the same sound in two languages."""
    made = 3 * torch.randn(len(LENGTHS), max(LENGTHS), 16, generator=torch.Generator().manual_seed(5))
    made[3] = made[1]
    valid = torch.arange(made.shape[1]) < torch.tensor(LENGTHS)[:, None]
    return made * valid[..., None]


@pytest.fixture(scope="module")
def batch(mels: Tensor) -> dict[str, Any]:
    """What transformers takes."""
    return {
        "input_features": mels,
        "attention_mask": (torch.arange(mels.shape[1]) < torch.tensor(LENGTHS)[:, None]).long(),
        "prompt_ids": torch.tensor([prompted.NUMBERS[language] for language in LANGUAGES]),
        "num_lookahead_tokens": LOOKAHEAD,
    }


def stream(encoder: StreamingEncoder, mels: Tensor) -> list[Tensor]:
    """Encoder frames `[T, width]` of each row, chunk by chunk: rows share steps until the shorter ones end."""
    feeds = [list(chunks(row[None, :length], LOOKAHEAD)) for row, length in zip(mels, LENGTHS, strict=True)]
    encoded: list[list[Tensor]] = [[] for _ in feeds]
    for slot, language in zip(SLOTS, LANGUAGES, strict=True):
        encoder.reset(slot, language)
    while rows := [row for row, feed in enumerate(feeds) if len(feed) > 1]:
        together = torch.cat([feeds[row].pop(0) for row in rows])
        for row, frames in zip(rows, encoder.step([SLOTS[row] for row in rows], together, LOOKAHEAD), strict=True):
            encoded[row].append(frames)
    for slot, feed, frames in zip(SLOTS, feeds, encoded, strict=True):
        frames.append(encoder.finish([slot], feed[0], LOOKAHEAD)[0])
    return [torch.cat(frames) for frames in encoded]


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_equals_transformers(theirs: Any, loaded: Loaded, mels: Tensor, batch: dict[str, Any]) -> None:
    network = loaded.network
    assert network.joint is not None
    whole, counts = network(mels, torch.tensor(LENGTHS), LOOKAHEAD, LANGUAGES)
    wanted = theirs.get_audio_features(**batch).pooler_output
    streamed = stream(StreamingEncoder(network, 5), mels)
    for row, count in enumerate(counts):
        close(network.joint.enc(whole[row, :count]), wanted[row, :count])
        close(network.joint.enc(streamed[row]), wanted[row, :count])
    assert not torch.allclose(streamed[1], streamed[3], atol=0.1)


@torch.inference_mode()
def test_equals_transformers_chunk_by_chunk(theirs: Any, loaded: Loaded, mels: Tensor, batch: dict[str, Any]) -> None:
    assert loaded.network.joint is not None
    streamed = stream(StreamingEncoder(loaded.network, 5), mels)
    *whole, _ = chunks(mels[:, : min(LENGTHS)], LOOKAHEAD)
    state = {
        "cache": DynamicCache(config=theirs.config.encoder_config),
        "padding_cache": NemotronAsrStreamingEncoderCausalConvPaddingCache(),  # type: ignore[no-untyped-call]
        "use_cache": True,
        "prompt_ids": batch["prompt_ids"],
        "num_lookahead_tokens": LOOKAHEAD,
    }
    wanted = torch.cat([theirs.get_audio_features(chunk, **state).pooler_output for chunk in whole], 1)
    for got, row in zip(streamed, wanted, strict=True):
        close(loaded.network.joint.enc(got[: len(row)]), row)


@torch.inference_mode()
def test_tokens_are_those_of_generate(theirs: Any, loaded: Loaded, mels: Tensor, batch: dict[str, Any]) -> None:
    made = theirs.generate(**batch, max_new_tokens=500)
    streamed = stream(StreamingEncoder(loaded.network, 5), mels)
    decoder = TransducerDecoder(loaded.network, 5)
    got = []
    for row, (slot, encoded) in enumerate(zip(SLOTS, streamed, strict=True)):
        ids, advances = made.sequences[row, 1:], made.durations[row, 1:]
        frames = advances.cumsum(0) - advances
        told = [(int(i), int(f)) for i, f in zip(ids, frames, strict=True) if i != prompted.BLANK and f < len(encoded)]
        tokens = [token for part in torch.split(encoded, 7) for token in decoder.step([slot], part[None])[0].certain]
        got.append([(token.id, token.frame) for token in tokens])
        assert got[-1] == told
        assert len(told) > 10
    assert got[1] != got[3]


def test_what_is_saved_is_loaded(loaded: Loaded, mels: Tensor, tmp_path: Path) -> None:
    save(tmp_path, loaded.network, TokenizersVocabulary(prompted.vocabulary()), torch.float32)
    again = load(tmp_path)
    assert again.network.config == loaded.network.config
    one, other = (stream(StreamingEncoder(network, 5), mels) for network in (again.network, loaded.network))
    assert all(torch.equal(*rows) for rows in zip(one, other, strict=True))


def test_bf16_is_near(loaded: Loaded, mels: Tensor) -> None:
    exact = stream(StreamingEncoder(loaded.network, 5), mels)
    for one, other in zip(exact, stream(StreamingEncoder(loaded.network, 5, torch.bfloat16), mels), strict=True):
        assert (one - other).square().mean() < 0.001 * one.square().mean()


def test_a_language_goes_with_its_stream(loaded: Loaded, mels: Tensor) -> None:
    """In a snapshot, and not with the slot."""
    here, there = StreamingEncoder(loaded.network, 2), StreamingEncoder(loaded.network, 2)
    first, second, *_ = chunks(mels[:1], LOOKAHEAD)
    here.reset(1, "de")
    here.step([1], first, LOOKAHEAD)
    there.restore(0, here.snapshot(1))
    german = here.step([1], second, LOOKAHEAD)
    assert torch.equal(there.step([0], second, LOOKAHEAD), german)
    for language in ("en", None):
        here.reset(1, language)
        here.step([1], first, LOOKAHEAD)
        assert not torch.allclose(here.step([1], second, LOOKAHEAD), german, atol=0.1)


def test_a_language_that_it_is_not_told(loaded: Loaded, mels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"language must be one of .*de.*; got 'xx'"):
        StreamingEncoder(loaded.network, 1).reset(0, "xx")


# --- checkpoints that do not fit ---

Change = Callable[[dict[str, Any]], object]
MODEL, PROCESSOR = "config.json", "processor_config.json"
REFUSED: dict[str, tuple[str, Change, str]] = {
    "no prompts": (MODEL, lambda c: c.pop("num_prompts"), f"{MODEL}.*num_prompts"),
    "no width": (MODEL, lambda c: c.pop("prompt_intermediate_size"), f"{MODEL}.*prompt_intermediate_size"),
    "no default": (MODEL, lambda c: c.pop("default_prompt_id"), f"{MODEL}.*default_prompt_id"),
    "no languages": (PROCESSOR, lambda c: c.pop("prompt_dictionary"), f"{PROCESSOR}.*prompt_dictionary"),
    "null": (PROCESSOR, lambda c: c.update(prompt_dictionary=None), f"{PROCESSOR}.*prompt_dictionary"),
    "no language": (PROCESSOR, lambda c: c.update(prompt_dictionary={"auto": 6}), r"prompt\.languages"),
    "unknown default": (
        MODEL,
        lambda c: c.update(default_prompt_id=7),
        r"default \(7\) must be less than prompts \(7\)",
    ),
    "unknown language": (PROCESSOR, lambda c: c["prompt_dictionary"].update(de=9), r"languages\.de \(9\)"),
    "negative": (PROCESSOR, lambda c: c["prompt_dictionary"].update(de=-1), r"prompt\.languages"),
    "other width": (
        MODEL,
        lambda c: c.update(prompt_intermediate_size=41),
        r"prompt_kernel\.0\.bias is \[40\], expected",
    ),
    "more prompts": (MODEL, lambda c: c.update(num_prompts=8), r"prompt_kernel\.0\.weight is \[40, 39\], expected"),
    "not told": (MODEL, lambda c: c.update(model_type="nemotron_asr_streaming"), r"surplus prompt_kernel\.0\.bias"),
}


@pytest.mark.parametrize(("file", "change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit(theirs: Any, tmp_path: Path, file: str, change: Change, message: str) -> None:
    path = prompted.write(tmp_path, theirs) / file
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_missing_parts(theirs: Any, tmp_path: Path) -> None:
    weights = prompted.write(tmp_path, theirs) / "model.safetensors"
    tensors = {name: value for name, value in load_file(weights).items() if not name.startswith("prompt_projector")}
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"missing prompt_kernel\.0\.bias"):
        load(tmp_path)
    (tmp_path / PROCESSOR).unlink()
    with pytest.raises(CheckpointError, match=PROCESSOR):
        load(tmp_path)


# --- as a stream ---


@pytest.fixture(scope="module")
def heard(pcm: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[FastConformerStream, Loaded]:
    sound = torch.from_numpy(np.frombuffer(pcm, "<i2") / np.float32(32_768))[None]
    mels, _ = Frontend(FrontendConfig())(sound, torch.tensor([sound.shape[1]]))
    directory = prompted.write(tmp_path_factory.mktemp("stream"), prompted.network(mels))
    return FastConformerStream(directory, 4), load(directory)


@pytest.fixture(scope="module")
def pcm() -> bytes:
    sound = np.random.default_rng(2).normal(0, 6_000, (60, 1)) * np.random.default_rng(3).normal(0, 1, (60, 800))
    return sound.clip(-32_768, 32_767).astype("<i2").tobytes()


def ask(kind: str, pts: int, language: str | None, **options: Any) -> Message:
    return Message(kind, pts, meta={"segment": 1, "language": language, "prompt": None} | options)


def drain(model: FastConformerStream) -> list[Output]:
    outputs: list[Output] = []
    while work := list(model.pending()):
        outputs += model.step(work[0].bucket, [pending.slot for pending in work])
    return outputs


def offline(loaded: Loaded, pcm: bytes, language: str | None) -> tuple[str, list[int]]:
    """Text, and tokens with tags, of a whole clip heard at once with a look-ahead of 80 ms."""
    encoded, _ = loaded.network(*mels_of(loaded.network, pcm), 1, [language])
    tokens = [token.id for token in small.rnnt_reference(loaded.network, encoded[0])]
    spoken = [token for token in tokens if token < small.VOCABULARY]
    return " ".join(small.vocabulary().decode(spoken).split()), tokens


def test_streams_of_several_languages(heard: tuple[FastConformerStream, Loaded], pcm: bytes) -> None:
    """In the same steps; tags are not in the text, and tell the language where none was given."""
    model, loaded = heard
    languages = [None, "de", "en", "fr"]
    for slot, language in enumerate(languages):
        model.open(slot, {})
        model.push(slot, ask("follow", 0, language))
        model.push(slot, Message("audio", 0, pcm))
    partials = drain(model)
    for slot, language in enumerate(languages):
        model.push(slot, ask("transcribe", len(pcm) // 2, language, start=0, words=True))
    finals = sorted(drain(model), key=lambda output: output.slot)
    wanted = [offline(loaded, pcm, language) for language in languages]
    assert len({text for text, _ in wanted}) == len(languages)
    assert sum(max(tokens) >= small.VOCABULARY for _, tokens in wanted) > 2
    for (text, tokens), last in zip(wanted, finals, strict=True):
        assert last.meta["text"] == text
        metas = [output.meta for output in partials if output.slot == last.slot]
        for former, latter in pairwise(metas):
            if former["text"] == latter["text"]:
                assert latter["blank"] == former["blank"] + 2 * FRAME_SAMPLES
        texts = [meta["text"] for meta in metas]
        assert all(latter.startswith(former) for former, latter in pairwise([*texts, text]))
        spoken = [token for token in tokens if token < small.VOCABULARY]
        assert len(last.meta["tokens"]) == len(spoken)
        assert " ".join(word for word, *_ in last.meta["words"]) == text
    assert [last.meta["language"] for last in finals[1:]] == languages[1:]
    tags = [prompted.TAGS[token - small.VOCABULARY][1:3] for token in wanted[0][1] if token >= small.VOCABULARY]
    assert finals[0].meta["language"] == max(tags, key=tags.count)


def test_a_tag_alone_is_no_speech() -> None:
    vocabulary = TokenizersVocabulary(prompted.vocabulary())
    told = final(vocabulary, [Token(small.VOCABULARY + 1, 3, -0.1)], None, 0, 16_000, words=True)
    assert told == {"text": "", "language": "de", "tokens": [], "no_speech": 1.0, "avg_logprob": 0.0, "words": []}


def test_languages_are_those_of_prompts_and_tags(heard: tuple[FastConformerStream, Loaded], pcm: bytes) -> None:
    model, _ = heard
    assert model.languages == {"en", "de", "fr"}
    model.open(0, {})
    model.push(0, Message("audio", 0, pcm))
    model.push(0, ask("follow", 0, "qu"))
    assert drain(model) == []
    with pytest.raises(
        StreamError, match=r"language must be one of these ISO-639-1 codes: de, en, fr; got 'qu'"
    ) as error:
        model.push(0, ask("transcribe", 8_000, "qu", start=0, words=True))
    assert error.value.param == "language"


def test_a_final_in_another_language_is_heard_anew(heard: tuple[FastConformerStream, Loaded], pcm: bytes) -> None:
    model, loaded = heard
    model.open(0, {})
    model.push(0, ask("follow", 0, None))
    model.push(0, Message("audio", 0, pcm))
    drain(model)
    model.push(0, ask("transcribe", len(pcm) // 2, "de", start=0, words=True, lookahead_ms=80))
    (last,) = drain(model)
    assert (last.meta["text"], last.meta["language"]) == (offline(loaded, pcm, "de")[0], "de")
