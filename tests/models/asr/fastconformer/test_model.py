"""FastConformer as a stream, with random weights: what it puts out, what it refuses, moving a stream."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.asr.fastconformer.config import FRAME_S
from models.asr.fastconformer.model import MAX_OVERRUN_S, FastConformerStream, Step
from models.asr.fastconformer.network import FastConformer
from models.asr.recogniser import MAX_REQUESTS
from models.audio import SAMPLE_RATE_HZ
from models.base import Message, Output, StreamError
from tests.models.asr.fastconformer.talkative import checkpoint, offline, talkative

CAPACITY = 6
WINDOW_S = 16.0
LOOKAHEADS_MS = [0, 80, 480, 1040]
CHUNK = 1_600
FRAME = round(FRAME_S * SAMPLE_RATE_HZ)
Speech = Callable[[str], bytes]


@pytest.fixture(scope="module")
def network(speech: Speech) -> FastConformer:
    return talkative(speech("sense_0880"))


@pytest.fixture(scope="module")
def saved(network: FastConformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(network, tmp_path_factory.mktemp("fastconformer") / "small")


@pytest.fixture(scope="module")
def loaded(saved: Path) -> FastConformerStream:
    return FastConformerStream(saved, CAPACITY, window_s=WINDOW_S)


@pytest.fixture
def model(loaded: FastConformerStream) -> FastConformerStream:
    for slot in range(CAPACITY):
        loaded.close(slot)
    return loaded


def follow(segment: int, start: int = 0, **options: Any) -> Message:
    return Message("follow", start, meta={"segment": segment, "language": None, "prompt": None} | options)


def transcribe(segment: int, start: int, end: int, **options: Any) -> Message:
    meta = {"segment": segment, "start": start, "language": None, "prompt": None, "words": True} | options
    return Message("transcribe", end, meta=meta, slack_s=0.2)


def hear(model: FastConformerStream, slot: int, pcm: bytes, pts: int = 0, chunk: int = CHUNK) -> list[Output]:
    """Push audio in chunks and step the slot whenever it can."""
    outputs: list[Output] = []
    for start in range(0, len(pcm), 2 * chunk):
        model.push(slot, Message("audio", pts + start // 2, pcm[start : start + 2 * chunk], slack_s=1.0))
        outputs += drain(model, slot)
    return outputs


def drain(model: FastConformerStream, slot: int) -> list[Output]:
    outputs: list[Output] = []
    while work := [pending for pending in model.pending() if pending.slot == slot]:
        outputs += model.step(work[0].bucket, [slot])
    return outputs


def final(model: FastConformerStream, slot: int, message: Message) -> Output:
    model.push(slot, message)
    (output,) = [output for output in drain(model, slot) if output.kind == "final"]
    return output


def partials(outputs: list[Output]) -> list[str]:
    return [output.meta["text"] for output in outputs if output.kind == "partial"]


# --- what is heard ---


@pytest.mark.parametrize("lookahead_ms", LOOKAHEADS_MS)
def test_text_forms_and_is_what_the_whole_clip_gives(
    model: FastConformerStream, network: FastConformer, speech: Speech, lookahead_ms: int
) -> None:
    pcm = speech("sense_0880")
    model.push(0, follow(4, lookahead_ms=lookahead_ms))
    outputs = hear(model, 0, pcm)
    last = final(model, 0, transcribe(4, 0, len(pcm) // 2))

    texts = ["", *partials(outputs)]
    assert all(latter.startswith(former) for former, latter in pairwise(texts))
    assert len(set(texts)) >= 3
    assert {output.meta["segment"] for output in outputs} == {4}
    assert last.meta["text"] == offline(network, pcm, lookahead_ms)
    assert last.meta["text"].startswith(texts[-1])
    heard = [output.pts for output in outputs]
    assert heard == sorted(set(heard))
    steps = [latter - former for former, latter in pairwise(heard)]
    assert set(steps) == {(lookahead_ms // 80 + 1) * FRAME}


def test_a_partial_comes_as_soon_as_its_chunk_is_there(model: FastConformerStream, speech: Speech) -> None:
    model.push(0, follow(1, lookahead_ms=80))
    pcm = speech("sense_0880")
    for written in range(160, 16_000, 160):
        model.push(0, Message("audio", written - 160, pcm[2 * written - 320 : 2 * written], slack_s=1.0))
        work = list(model.pending())
        assert bool(work) == (written >= 1_280 + 200 and (written - 1_280 - 200) % 2_560 < 160)
        assert all(pending.slack_s == 0.16 for pending in work)
        drain(model, 0)


def test_a_final_has_words_with_times_and_probabilities(model: FastConformerStream, speech: Speech) -> None:
    pcm = bytes(2 * 5_000) + speech("sense_0880")
    end = len(pcm) // 2
    hear(model, 0, pcm)
    output = final(model, 0, transcribe(3, 5_000, end))
    words, tokens = output.meta["words"], output.meta["tokens"]

    assert (output.kind, output.pts, output.meta["segment"], output.meta["language"]) == ("final", end, 3, "en")
    assert output.meta["no_speech"] == 0.0
    assert " ".join(text for text, *_ in words).split() == output.meta["text"].split()
    assert "".join(text for text, _ in tokens).strip() == output.meta["text"]
    assert np.mean([logprob for _, logprob in tokens]) == pytest.approx(output.meta["avg_logprob"])
    starts = [start for _, start, _, _ in words]
    assert starts == sorted(starts)
    assert all(5_000 - 160 <= start <= until <= end and 0 < p <= 1 for _, start, until, p in words)
    assert "words" not in final(model, 0, transcribe(3, 5_000, end, words=False)).meta


def test_what_was_not_followed_is_heard_with_the_longest_lookahead(
    model: FastConformerStream, network: FastConformer, speech: Speech
) -> None:
    pcm = speech("sense_0880")
    hear(model, 0, pcm)
    assert final(model, 0, transcribe(1, 0, len(pcm) // 2)).meta["text"] == offline(network, pcm, 1040)
    chosen = final(model, 0, transcribe(2, 0, len(pcm) // 2, lookahead_ms=0))
    assert chosen.meta["text"] == offline(network, pcm, 0)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 1_279, 1_280, 1_281, 3_999])
def test_however_short_a_segment_it_is_answered(
    model: FastConformerStream, network: FastConformer, speech: Speech, samples: int
) -> None:
    pcm = speech("sense_0880")[: 2 * samples]
    hear(model, 0, pcm)
    meta = final(model, 0, transcribe(1, 0, samples)).meta
    assert meta["text"] == (offline(network, pcm, 1040) if samples >= 160 else "")
    assert (meta["no_speech"], meta["avg_logprob"]) == (
        0.0 if meta["tokens"] else 1.0,
        pytest.approx(meta["avg_logprob"]),
    )


def test_among_others_at_other_places_the_text_is_the_same(model: FastConformerStream, speech: Speech) -> None:
    """Six streams that begin at different times, with different look-aheads, in whatever batches can be made."""
    clips = [
        speech(name)
        for name in ("sense_0870", "sense_0880", "sense_0890", "sense_0910", "sense_0920", "sense_0930")[:3]
    ]
    told: dict[bool, list[list[tuple[str, int, Any]]]] = {True: [], False: []}
    settings = [(clips[slot % 3], 777 * slot, LOOKAHEADS_MS[slot // 2]) for slot in range(CAPACITY)]
    for slot, (pcm, start, lookahead_ms) in enumerate(settings):
        model.push(slot, Message("audio", 0, bytes(2 * start)))
        model.push(slot, follow(1, start, lookahead_ms=lookahead_ms))
        outputs = hear(model, slot, pcm, start)
        model.push(slot, transcribe(1, start, start + len(pcm) // 2))
        told[True].append([(output.kind, output.pts, output.meta) for output in outputs + drain(model, slot)])
        model.close(slot)

    together: list[list[tuple[str, int, Any]]] = [[] for _ in settings]
    for slot, (_, start, lookahead_ms) in enumerate(settings):
        model.push(slot, Message("audio", 0, bytes(2 * start)))
        model.push(slot, follow(1, start, lookahead_ms=lookahead_ms))
    shared = 0
    for at in range(0, max(len(pcm) // 2 for pcm in clips) + CHUNK, CHUNK):
        for slot, (pcm, start, _) in enumerate(settings):
            piece = pcm[2 * at : 2 * at + 2 * CHUNK]
            if piece:
                model.push(slot, Message("audio", start + at, piece, slack_s=1.0))
            elif at - CHUNK < len(pcm) // 2 <= at:
                model.push(slot, transcribe(1, start, start + len(pcm) // 2))
        while work := list(model.pending()):
            slots = [pending.slot for pending in work if pending.bucket == work[0].bucket]
            shared += len(slots) > 1
            for output in model.step(work[0].bucket, slots):
                together[output.slot].append((output.kind, output.pts, output.meta))

    assert shared > 50
    for alone, among in zip(told[True], together, strict=True):
        assert [(kind, pts, meta["text"]) for kind, pts, meta in alone] == [
            (kind, pts, meta["text"]) for kind, pts, meta in among
        ]


def test_phrases_make_themselves_likelier_and_concern_one_stream_alone(
    model: FastConformerStream, speech: Speech
) -> None:
    pcm = speech("sense_0880")
    texts = []
    for slot, phrases in enumerate([[], ["lazy dog", "hello world"], ["lazy dog", "東京"], ["東京"]]):
        model.push(slot, follow(1, phrases=phrases))
        hear(model, slot, pcm)
        texts.append(final(model, slot, transcribe(1, 0, len(pcm) // 2)).meta["text"])
    assert texts[0] == texts[3]
    assert texts[1] != texts[0]
    assert texts[2] != texts[0]


# --- turns ---


def test_at_a_pause_the_tail_is_told_and_the_utterance_may_go_on(
    model: FastConformerStream, network: FastConformer, speech: Speech
) -> None:
    pcm = speech("sense_0870")
    half = 37_000
    model.push(0, follow(1, lookahead_ms=480))
    before = hear(model, 0, pcm[: 2 * half])
    early = final(model, 0, transcribe(1, 0, half))
    assert hear(model, 0, pcm[2 * half : 2 * half + 8_000], half) == []
    model.push(0, follow(1))
    after = drain(model, 0) + hear(model, 0, pcm[2 * half + 8_000 :], half + 4_000)
    late = final(model, 0, transcribe(1, 0, len(pcm) // 2))

    assert early.meta["text"] == offline(network, pcm[: 2 * half], 480)
    assert late.meta["text"] == offline(network, pcm, 480)
    texts = partials(before + after)
    assert all(latter.startswith(former) for former, latter in pairwise(texts))


def test_an_utterance_leaves_nothing_to_the_next(
    model: FastConformerStream, network: FastConformer, speech: Speech
) -> None:
    first, second = speech("sense_0870")[: 2 * 160 * 300], speech("sense_0880")
    cut, end = len(first) // 2, (len(first) + len(second)) // 2
    model.push(0, follow(1))
    hear(model, 0, first)
    model.push(0, transcribe(1, 0, cut))
    model.push(0, follow(2, cut))
    outputs = drain(model, 0) + hear(model, 0, second, cut)
    (one,) = [output for output in outputs if output.kind == "final"]
    model.push(0, Message("release", cut))
    other = final(model, 0, transcribe(2, cut, end))

    hear(model, 1, bytes(2 * cut))
    model.push(1, follow(2, cut))
    hear(model, 1, second, cut)
    assert one.meta["text"] == offline(network, first, 80)
    assert small_difference(final(model, 1, transcribe(2, cut, end)).meta["text"], other.meta["text"])


def small_difference(one: str, other: str) -> bool:
    """Equal but for the beginning: what comes before the first sample is in the first frame's window."""
    return one[len(one) // 2 :] == other[len(other) // 2 :]


@pytest.mark.parametrize("overrun", [1_000, 7_000, 30_000])
def test_a_final_that_ends_before_what_was_heard(
    model: FastConformerStream, network: FastConformer, speech: Speech, overrun: int
) -> None:
    """What was heard beyond a little is heard anew, and nothing that was said after the end is in the text."""
    pcm = speech("sense_0870")
    end = 60_000
    model.push(0, follow(1, lookahead_ms=0))
    told = partials(hear(model, 0, pcm[: 2 * (end + overrun)]))
    output = final(model, 0, transcribe(1, 0, end))

    expected = offline(network, pcm[: 2 * end], 0)
    if overrun > MAX_OVERRUN_S * SAMPLE_RATE_HZ:
        assert output.meta["text"] == expected
    else:
        assert output.meta["text"].startswith(expected[:-4])
        assert all(start < end for _, start, _, _ in output.meta["words"])
    model.push(0, follow(1))
    texts = [*told, *partials(drain(model, 0) + hear(model, 0, pcm[2 * (end + overrun) :], end + overrun))]
    assert all(latter.startswith(former) for former, latter in pairwise(texts))
    assert len(texts) > len(told)


def test_what_was_said_after_the_end_is_not_in_the_final_text(model: FastConformerStream, speech: Speech) -> None:
    pcm = speech("sense_0870")
    model.push(0, follow(1, lookahead_ms=0))
    told = partials(hear(model, 0, pcm[: 2 * 60_000]))
    shorter = 0
    for back in range(0, 8_000, 1_000):
        meta = final(model, 0, transcribe(1, 0, 60_000 - back)).meta
        model.push(0, follow(1))
        shorter += len(meta["text"]) < len(told[-1])
        assert all(start < 60_000 - back for _, start, _, _ in meta["words"])
    assert shorter


def test_finals_come_in_order_and_hold_their_audio(model: FastConformerStream, speech: Speech) -> None:
    pcm = speech("sense_0870")
    cut, end = 50_000, len(pcm) // 2
    hear(model, 0, pcm)
    model.push(0, transcribe(7, 0, cut))
    model.push(0, transcribe(8, cut, end))
    model.push(0, Message("release", 10**6))
    assert model.consumed(0) == 0
    outputs = drain(model, 0)
    assert [output.meta["segment"] for output in outputs] == [7, 8]
    assert model.consumed(0) == 2 * end
    assert list(model.pending()) == []


def test_a_final_waits_for_audio_that_is_still_on_its_way(
    model: FastConformerStream, network: FastConformer, speech: Speech
) -> None:
    pcm = speech("sense_0880")
    hear(model, 0, pcm[:-1_000])
    model.push(0, transcribe(1, 0, len(pcm) // 2))
    assert drain(model, 0) == []
    model.push(0, Message("audio", len(pcm) // 2 - 500, pcm[-1_000:]))
    (output,) = drain(model, 0)
    assert output.meta["text"] == offline(network, pcm, 1040)


def test_following_again_withdraws_the_final(model: FastConformerStream) -> None:
    model.push(0, Message("audio", 0, bytes(3_200)))
    model.push(0, transcribe(1, 0, 1_600))
    assert len(list(model.pending())) == 1
    model.push(0, follow(1))
    assert [output.kind for output in drain(model, 0)] == ["partial"]


def test_nothing_is_computed_unless_something_is_followed(model: FastConformerStream, speech: Speech) -> None:
    assert hear(model, 0, speech("sense_0880")) == []
    model.push(0, follow(1))
    model.push(0, Message("unfollow"))
    assert list(model.pending()) == []


def test_a_blank_run_is_told(model: FastConformerStream, speech: Speech) -> None:
    model.push(0, follow(1, lookahead_ms=0))
    outputs = hear(model, 0, speech("sense_0880"))
    for former, latter in pairwise(outputs):
        if former.meta["text"] == latter.meta["text"]:
            assert latter.meta["blank"] == former.meta["blank"] + FRAME
    assert any(output.meta["blank"] == 0 for output in outputs)


# --- trouble ---


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (Message("audio", 99, b"ab"), "pts"),
        (Message("audio", 128_000, b"abc"), "data"),
        (Message("audio", 128_000, bytes(2 * 200_000)), "data"),
        (follow(1, 7_999), "pts"),
        (follow(1, 128_001), "pts"),
        (follow(1, 8_000, phrases=["x"] * 1_001), "phrases"),
        (transcribe(1, 7_999, 32_000), "start"),
        (transcribe(1, 8_000, 8_000 + 256_001), "start"),
        (transcribe(1, 32_000, 31_999), "start"),
        (transcribe(1, 8_000, 32_000, language="de"), "language"),
    ],
)
def test_refuses_what_it_cannot_serve_and_stays_as_it_was(
    model: FastConformerStream, message: Message, param: str
) -> None:
    model.push(0, Message("audio", 0, bytes(256_000)))
    model.push(0, Message("release", 8_000))
    before = model.snapshot(0)

    with pytest.raises(StreamError) as error:
        model.push(0, message)

    assert error.value.param == param
    assert model.snapshot(0) == before


@pytest.mark.parametrize(("wanted_ms", "chunk"), [(1, 2), (80, 2), (100, 7), (2_000, 14)])
def test_a_lookahead_that_was_not_trained_is_the_next_longer_one(
    saved: Path, speech: Speech, wanted_ms: int, chunk: int
) -> None:
    by_default, by_choice = FastConformerStream(saved, 1, lookahead_ms=wanted_ms), FastConformerStream(saved, 1)
    by_default.push(0, follow(1))
    by_choice.push(0, follow(1, lookahead_ms=wanted_ms))
    for model in by_default, by_choice:
        heard = [output.pts for output in hear(model, 0, speech("sense_0880"))]
        assert {latter - former for former, latter in pairwise(heard)} == {chunk * FRAME}


def test_another_language_is_not_followed(model: FastConformerStream, speech: Speech) -> None:
    model.push(0, follow(1, language="de"))
    assert hear(model, 0, speech("sense_0880")) == []


def test_the_queue_is_bounded(model: FastConformerStream) -> None:
    model.push(0, Message("audio", 0, bytes(3_200)))
    for segment in range(MAX_REQUESTS):
        model.push(0, transcribe(segment, 0, 1_600))
    with pytest.raises(StreamError, match=f"at most {MAX_REQUESTS}"):
        model.push(0, transcribe(MAX_REQUESTS, 0, 1_600))


@pytest.mark.parametrize("kind", ["silence", "noise", "clipped", "square"])
def test_any_sound_is_heard(model: FastConformerStream, speech: Speech, kind: str) -> None:
    loud = np.frombuffer(speech("sense_0880"), "<i2").astype(int) * 50
    sounds = {
        "silence": np.zeros(64_000),
        "noise": np.random.default_rng(0).normal(0, 8_000, 64_000),
        "clipped": loud,
        "square": np.tile([32_767, -32_768], 32_000),
    }
    pcm = np.clip(sounds[kind], -32_768, 32_767).astype("<i2").tobytes()
    model.push(0, follow(1))
    hear(model, 0, pcm)
    meta = final(model, 0, transcribe(1, 0, len(pcm) // 2)).meta
    assert all(np.isfinite(logprob) for _, logprob in meta["tokens"])


@pytest.mark.parametrize("part", ["_encoder", "_decoder"])
def test_after_a_step_that_failed_the_text_is_the_same(
    model: FastConformerStream, network: FastConformer, speech: Speech, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    pcm = speech("sense_0880")
    model.push(0, follow(1))
    hear(model, 0, pcm[: len(pcm) // 4 * 2])

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    model.push(0, Message("audio", len(pcm) // 4, pcm[len(pcm) // 4 * 2 :]))
    (work,) = model.pending()
    with monkeypatch.context() as patch:
        patch.setattr(getattr(model, part), "step", fail)
        with pytest.raises(RuntimeError):
            model.step(work.bucket, [0])
    model.step(work.bucket, [0])
    assert final(model, 0, transcribe(1, 0, len(pcm) // 2)).meta["text"] == offline(network, pcm, 80)


def test_a_step_of_a_shape_that_a_slot_does_not_have_changes_nothing(model: FastConformerStream) -> None:
    before = model.snapshot(0)
    assert model.step(Step(1, 9, first=True, last=False), [0]) == []
    assert model.snapshot(0) == before


def test_a_stream_moves_in_mid_utterance(model: FastConformerStream, speech: Speech) -> None:
    pcm = speech("sense_0870")
    half, end = 121_600, len(pcm) // 2
    options: dict[str, Any] = {"phrases": ["lazy dog"], "lookahead_ms": 480}
    model.push(0, follow(1, **options))
    whole = hear(model, 0, pcm)
    model.push(0, transcribe(1, 0, end))
    whole += drain(model, 0)

    model.push(1, follow(1, **options))
    moved = hear(model, 1, pcm[:half])
    model.restore(2, model.snapshot(1))
    model.close(1)
    moved += hear(model, 2, pcm[half:], half // 2)
    model.push(2, transcribe(1, 0, end))
    model.restore(3, model.snapshot(2))
    moved += drain(model, 3)

    assert [(output.kind, output.pts, output.meta) for output in moved] == [
        (output.kind, output.pts, output.meta) for output in whole
    ]


def test_a_pair_shares_the_work(saved: Path, speech: Speech) -> None:
    for partials_only in (True, False):
        model = FastConformerStream(saved, 1, partials=partials_only, finals=not partials_only)
        model.push(0, Message("audio", 0, speech("sense_0880")))
        model.push(0, follow(1))
        model.push(0, transcribe(2, 0, 40_000))
        kinds = {output.kind for output in drain(model, 0)}
        assert kinds == {"partial" if partials_only else "final"}
        model.push(0, Message("release", 40_000))
        assert model.consumed(0) == 80_000
