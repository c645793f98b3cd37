"""Whisper while someone speaks: agreed words, following again, batching."""

from typing import Any

import numpy as np
import pytest

from models.asr.whisper.model import FINAL, PARTIAL, Whisper
from models.asr.whisper.network import HEARD_SAMPLES
from models.audio import SAMPLE_RATE_HZ
from models.base import Message
from tests.models.asr.whisper.listening import (
    CHUNK_BYTES,
    CLIPS,
    LONG,
    SHORT,
    Speech,
    drain,
    feed,
    final,
    follow,
    growing,
    plain,
    step_all,
    texts,
    transcribe,
)


@pytest.mark.parametrize("language", ["en", None])
def test_partials_appear_while_someone_speaks_and_only_grow(
    whisper: Whisper, speech: Speech, language: str | None
) -> None:
    pcm = speech(LONG)
    whisper.push(0, follow(5, language=language))
    outputs = feed(whisper, 0, pcm)
    whisper.push(0, transcribe(5, 0, len(pcm) // 2))
    (last,) = drain(whisper, 0)

    assert all(growing(outputs))
    assert {(output.kind, output.meta["segment"]) for output in outputs} == {("partial", 5)}
    assert outputs[0].pts <= 1.5 * SAMPLE_RATE_HZ
    assert len(outputs) >= 5
    assert [output.pts for output in outputs] == sorted({output.pts for output in outputs})
    agreed = plain(texts(outputs)[-1])
    assert len(agreed) > 0.8 * len(plain(last.meta["text"]))
    assert plain(last.meta["text"]).startswith(agreed)


def test_partials_batched_equal_alone(whisper: Whisper, speech: Speech) -> None:
    alone = []
    for name in CLIPS:
        whisper.open(3, {})
        whisper.push(3, follow(1))
        alone.append([(output.pts, output.meta) for output in feed(whisper, 3, speech(name))])

    together: list[list[Any]] = [[], [], []]
    for slot in range(3):
        whisper.push(slot, follow(1))
    clips = [speech(name) for name in CLIPS]
    for start in range(0, len(clips[0]), CHUNK_BYTES):
        for slot, pcm in enumerate(clips):
            if start < len(pcm):
                whisper.push(slot, Message("audio", start // 2, pcm[start : start + CHUNK_BYTES]))
        for output in step_all(whisper):
            together[output.slot].append((output.pts, output.meta))

    assert together == alone


def test_following_again_continues_the_agreed_text(whisper: Whisper, speech: Speech) -> None:
    pcm = speech(LONG)
    half = 60_800 * 2
    whisper.push(0, follow(1))
    before = feed(whisper, 0, pcm[:half])
    whisper.push(0, transcribe(1, 0, half // 2))
    (early,) = drain(whisper, 0)
    assert feed(whisper, 0, pcm[half : half + 32_000], half // 2) == []

    whisper.push(0, follow(1))
    after = feed(whisper, 0, pcm[half + 32_000 :], half // 2 + 16_000)
    whisper.push(0, transcribe(1, 0, len(pcm) // 2))
    (late,) = drain(whisper, 0)

    assert all(growing(before + after))
    assert after
    assert len(early.meta["text"]) < len(late.meta["text"])
    assert late.meta["text"] == final(whisper, 1, pcm).meta["text"]


def test_following_again_withdraws_the_final(whisper: Whisper) -> None:
    whisper.push(0, Message("audio", 0, bytes(3_200)))
    whisper.push(0, transcribe(1, 0, 1_600))
    assert list(whisper.pending()) == [(0, FINAL, 0.2)]
    whisper.push(0, follow(1))
    assert list(whisper.pending()) == []


def test_partials_wait_for_enough_audio_and_stop_when_told(whisper: Whisper, speech: Speech) -> None:
    pcm = speech(LONG)
    whisper.push(0, Message("audio", 0, pcm[:16_000]))
    whisper.push(0, follow(1, 1_600))
    assert list(whisper.pending()) == []
    whisper.push(0, Message("audio", 8_000, pcm[16_000:19_200], slack_s=0.7))
    assert list(whisper.pending()) == [(0, PARTIAL, 0.7)]
    whisper.step(PARTIAL, [0])
    assert list(whisper.pending()) == []
    whisper.push(0, Message("audio", 9_600, pcm[19_200:32_000]))
    assert len(list(whisper.pending())) == 1
    whisper.push(0, Message("unfollow"))
    assert list(whisper.pending()) == []


def test_partials_hear_no_more_than_the_network_can(whisper: Whisper) -> None:
    whisper.push(0, follow(1))
    whisper.push(0, Message("audio", 0, bytes(2 * HEARD_SAMPLES - 8_000)))
    drain(whisper, 0)
    whisper.push(0, Message("audio", HEARD_SAMPLES - 4_000, bytes(16_000)))
    assert len(list(whisper.pending())) == 1
    drain(whisper, 0)
    whisper.push(0, Message("audio", HEARD_SAMPLES + 4_000, bytes(16_000)))
    assert list(whisper.pending()) == []


def test_silence_and_noise_make_no_partials(whisper: Whisper) -> None:
    noise = np.random.default_rng(0).normal(0, 600, 3 * SAMPLE_RATE_HZ).astype("<i2").tobytes()
    for slot, pcm in enumerate([bytes(96_000), noise]):
        whisper.push(slot, follow(1))
        assert feed(whisper, slot, pcm) == []


@pytest.mark.parametrize("doubt", [{"no_speech": 0.9}, {"degenerate": True}])
def test_doubtful_hypotheses_make_no_partials(
    whisper: Whisper, speech: Speech, monkeypatch: pytest.MonkeyPatch, doubt: dict[str, Any]
) -> None:
    generate = whisper._network.generate

    def doubtful(encoded: Any, prompts: Any) -> Any:
        return [hypothesis._replace(**doubt) for hypothesis in generate(encoded, prompts)]

    monkeypatch.setattr(whisper._network, "generate", doubtful)
    whisper.push(0, follow(1))
    assert feed(whisper, 0, speech(SHORT)) == []
