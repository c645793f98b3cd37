"""The streaming encoder against the offline form, transformers, and itself in every other company."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.streaming import StreamingEncoder, chunk_mels
from tests.models.asr.fastconformer import streams
from tests.models.asr.fastconformer.streams import LOOKAHEADS, TOLERANCE, chunks, offline, stream

CAPACITY = 5
LONG = 733
"""Mel frames of which the left context is only a part."""


@pytest.fixture(scope="module")
def network() -> FastConformer:
    return streams.network()


@pytest.fixture(scope="module")
def encoder(network: FastConformer) -> StreamingEncoder:
    return StreamingEncoder(network, CAPACITY)


def random_mels(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, 80, generator=torch.Generator().manual_seed(seed))


def close(got: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("bias", "mel_bins"), [(True, 80), (False, 128)], ids=str)
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_equals_transformers(tmp_path: Path, bias: bool, mel_bins: int, lookahead: int) -> None:
    ours, theirs = streams.pair(tmp_path, bias, mel_bins)
    mels = torch.randn(2, LONG, mel_bins)
    got = stream(StreamingEncoder(ours, CAPACITY), [3, 1], mels, lookahead)
    close(got, offline(ours, mels, lookahead))
    with torch.inference_mode():
        close(got, theirs(mels, num_lookahead_tokens=lookahead).last_hidden_state)
        chunked = streams.cached(theirs, mels, lookahead)
    assert 0 <= got.shape[1] - chunked.shape[1] <= lookahead + 1
    close(got[:, : chunked.shape[1]], chunked)


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_every_length_of_tail(network: FastConformer, encoder: StreamingEncoder, lookahead: int) -> None:
    whole = chunk_mels(lookahead, first=True) + chunk_mels(lookahead, first=False)
    for length in range(whole + 9):
        mels = random_mels(1, length)
        close(stream(encoder, [2], mels, lookahead), offline(network, mels, lookahead))


def test_tail_of_a_whole_chunk(network: FastConformer, encoder: StreamingEncoder) -> None:
    mels = random_mels(1, 9 + 16)
    encoder.reset(0)
    encoded = [encoder.step([0], mels[:, :9], 1), encoder.finish([0], mels[:, 9:], 1)]
    close(torch.cat(encoded, 1), offline(network, mels, 1))


@pytest.mark.parametrize("lookahead", [1, 6])
def test_streams_that_join_and_leave(encoder: StreamingEncoder, lookahead: int) -> None:
    """Two utterances in each slot, one after the other, begun at different times; rows in another order each time."""
    generator = torch.Generator().manual_seed(3)
    waiting = {
        slot: [random_mels(1, 150 + 130 * slot, seed=10 * slot + turn) for turn in range(2)] for slot in range(4)
    }
    wanted = {slot: [stream(encoder, [4], mels, lookahead) for mels in queue] for slot, queue in waiting.items()}
    got: dict[int, list[list[Tensor]]] = {slot: [] for slot in waiting}
    feeds: dict[int, list[Tensor]] = {}
    tick = 0
    while waiting or feeds:
        for slot in [slot for slot in waiting if slot not in feeds and tick >= 3 * slot]:
            feeds[slot] = list(chunks(waiting[slot].pop(0), lookahead))
            encoder.reset(slot)
            got[slot].append([encoder.step([slot], feeds[slot].pop(0), lookahead)])
        order = [list(feeds)[index] for index in torch.randperm(len(feeds), generator=generator)]
        if batch := [slot for slot in order if len(feeds[slot]) > 1]:
            rows = encoder.step(batch, torch.cat([feeds[slot].pop(0) for slot in batch]), lookahead)
            for slot, row in zip(batch, rows[:, None], strict=True):
                got[slot][-1].append(row)
        for slot in [slot for slot in order if len(feeds[slot]) == 1]:
            got[slot][-1].append(encoder.finish([slot], feeds.pop(slot)[0], lookahead))
            if not waiting[slot]:
                del waiting[slot]
        tick += 1
    for slot, utterances in got.items():
        for parts, alone in zip(utterances, wanted[slot], strict=True):
            close(torch.cat(parts, 1), alone, 1e-5)


@pytest.mark.parametrize("length", [0, 1, 7, 16])
@pytest.mark.parametrize("before", [9, LONG])
def test_a_provisional_end_leaves_the_stream(encoder: StreamingEncoder, length: int, before: int) -> None:
    mels = random_mels(1, before)
    *whole, _ = chunks(mels, 1)
    after = random_mels(1, 16, seed=2)
    nexts = []
    for provisional in (False, True):
        encoder.reset(0)
        for chunk in whole:
            encoder.step([0], chunk, 1)
        held = encoder.snapshot(0)
        if provisional:
            encoder.finish([0], after[:, :length], 1)
        assert encoder.snapshot(0) == held
        nexts.append(encoder.step([0], after, 1))
    assert torch.equal(*nexts)


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_snapshot_goes_on_elsewhere(network: FastConformer, steps: int, dtype: torch.dtype) -> None:
    here, there = StreamingEncoder(network, 3, dtype), StreamingEncoder(network, 4, dtype)
    *whole, _ = chunks(random_mels(1, LONG + 200), 1)
    for chunk in whole[:steps]:
        here.step([2], chunk, 1)
        there.step([0], chunk.flip(1), 1)
    there.restore(0, here.snapshot(2))
    for chunk in whole[steps : steps + 3]:
        assert torch.equal(here.step([2], chunk, 1), there.step([0], chunk, 1))
    assert torch.equal(here.finish([2], whole[0][:, :5], 1), there.finish([0], whole[0][:, :5], 1))
    assert here.snapshot(2) == there.snapshot(0)


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_nothing_grows(encoder: StreamingEncoder, lookahead: int) -> None:
    """A stream set years ahead goes on as it would have, in as much space."""
    *whole, _ = chunks(random_mels(1, 2 * LONG if lookahead == 13 else LONG), lookahead)
    split = len(whole) - 3
    encoder.reset(0)
    for chunk in whole[:split]:
        encoder.step([0], chunk, lookahead)
    near = encoder.snapshot(0)
    tensors = safetensors.torch.load(near)
    tensors["position"][0] += 10**9 * (lookahead + 1)
    far = safetensors.torch.save(tensors)
    encoder.restore(1, far)
    for chunk in whole[split:]:
        assert torch.equal(encoder.step([0], chunk, lookahead), encoder.step([1], chunk, lookahead))
    assert len(encoder.snapshot(1)) == len(far) == len(near)


def test_bytes_per_slot(network: FastConformer, encoder: StreamingEncoder) -> None:
    pairs = 3 * (70 + 14) * 2 * 32
    convolutions = 3 * 8 * 32 + 80 + 8 * (41 + 21)
    assert encoder.bytes_per_slot == 4 * (pairs + convolutions)
    assert StreamingEncoder(network, 2, torch.bfloat16).bytes_per_slot == 2 * (pairs + convolutions)


def test_lookahead_is_free_after_a_reset(network: FastConformer, encoder: StreamingEncoder) -> None:
    mels = random_mels(1, 300)
    for lookahead in (13, 0, 6, 1):
        close(stream(encoder, [1], mels, lookahead), offline(network, mels, lookahead))


def test_what_a_step_refuses(encoder: StreamingEncoder) -> None:
    for slot in (0, 1):
        encoder.reset(slot)
    encoder.step([0], random_mels(1, 9), 1)
    held = encoder.snapshot(0)
    refusals: list[tuple[list[int], Tensor, int, str]] = [
        ([0], random_mels(1, 15), 1, "16 mel frames, got 15"),
        ([0], random_mels(1, 8), 0, "until a reset"),
        ([1], random_mels(1, 17), 2, "one of"),
        ([0, 1], random_mels(2, 16), 1, "cannot share"),
    ]
    for slots, mels, lookahead, message in refusals:
        with pytest.raises(ValueError, match=message):
            encoder.step(slots, mels, lookahead)
    with pytest.raises(ValueError, match="at most 16"):
        encoder.finish([0], random_mels(1, 17), 1)
    with pytest.raises(RuntimeError):
        encoder.step([0], torch.zeros(1, 16, 128), 1)
    assert encoder.snapshot(0) == held


def test_bf16_is_as_near_as_the_offline_form_in_bf16(network: FastConformer) -> None:
    mels = random_mels(2, 400)
    exact = offline(network, mels, 1)
    plain = offline(streams.network().bfloat16(), mels.bfloat16(), 1)
    ours = stream(StreamingEncoder(network, 2, torch.bfloat16), [0, 1], mels, 1)
    assert (ours - exact).square().mean() < 1.5 * (plain - exact).square().mean()
