"""The decoder against transformers, and against itself in every other shape."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.linear import pack
from models.lm import weights
from models.lm.decoder import Decoder
from tests.models.lm import checkpoints

CAPACITY, CONTEXT = 6, 64
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=[("llama", False), ("llama", True), ("qwen2", False), ("qwen2", True)], ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Decoder, Any]:
    directory = tmp_path_factory.mktemp("checkpoint")
    theirs = checkpoints.write(directory, *request.param)
    config, tensors = weights.load(directory, torch.float32)
    return Decoder(config, tensors, CAPACITY, CONTEXT), theirs


def random_tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(checkpoints.VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def expected(theirs: Any, tokens: Tensor) -> Tensor:
    """Logits after each token: fp32 `[n, length, vocab]`."""
    with torch.inference_mode():
        logits: Tensor = theirs(tokens).logits
    return logits


def append(decoder: Decoder, tokens: Tensor, slots: list[int], starts: list[int]) -> Tensor:
    return decoder.logits(decoder.forward(decoder.embed(tokens), slots, starts))


def test_prefill_at_once(pair: tuple[Decoder, Any]) -> None:
    ours, theirs = pair
    tokens = random_tokens(1, 40)
    got = append(ours, tokens, [2], [0])
    torch.testing.assert_close(got, expected(theirs, tokens)[:, -1], atol=TOLERANCE, rtol=0)


def test_chunks_then_single_tokens(pair: tuple[Decoder, Any]) -> None:
    ours, theirs = pair
    tokens = random_tokens(1, 40, seed=1)
    wanted = expected(theirs, tokens)[0]
    at = 0
    for length in (16, 16, 3, 1, 1, 1, 1, 1):
        got = append(ours, tokens[:, at : at + length], [4], [at])
        at += length
        torch.testing.assert_close(got[0], wanted[at - 1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("slots", [[0, 1, 2, 3, 4], [5, 0, 3], [1, 2], [2, 1]])
@pytest.mark.parametrize("length", [1, 5])
def test_ragged_rows(pair: tuple[Decoder, Any], slots: list[int], length: int) -> None:
    ours, theirs = pair
    starts = [3 + 7 * row for row in range(len(slots))]
    rows = [random_tokens(start + length, seed=start) for start in starts]
    for row, slot, start in zip(rows, slots, starts, strict=True):
        append(ours, row[None, :start], [slot], [0])
    got = append(ours, torch.stack([row[start:] for row, start in zip(rows, starts, strict=True)]), slots, starts)
    wanted = torch.stack([expected(theirs, row[None])[0, -1] for row in rows])
    torch.testing.assert_close(got, wanted, atol=TOLERANCE, rtol=0)


def test_a_slot_is_overwritten_from_any_position(pair: tuple[Decoder, Any]) -> None:
    ours, theirs = pair
    old, new = random_tokens(1, 50, seed=2), random_tokens(1, 30, seed=3)
    new[:, :12] = old[:, :12]
    append(ours, old, [1], [0])
    got = append(ours, new[:, 12:], [1], [12])
    torch.testing.assert_close(got, expected(theirs, new)[:, -1], atol=TOLERANCE, rtol=0)


def test_positions_beyond_the_context(pair: tuple[Decoder, Any]) -> None:
    ours, _ = pair
    with pytest.raises(ValueError, match=f"beyond the context of {CONTEXT}"):
        append(ours, random_tokens(1, 5), [0], [CONTEXT - 4])


def test_bf16_is_close_to_fp32(tiny: Path) -> None:
    (config, full), (_, half) = weights.load(tiny, torch.float32), weights.load(tiny)
    tokens = random_tokens(2, 20)
    a, b = (append(Decoder(config, tensors, 2, 32), tokens, [0, 1], [0, 0]) for tensors in (full, half))
    assert (a - b).abs().max() < 0.05 * a.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3, 130])
def test_packed_products(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(24, 40, dtype=dtype), torch.randn(24, dtype=dtype), torch.randn(rows, 40, dtype=dtype)
    torch.testing.assert_close(pack(weight, bias)(x), torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(pack(weight)(x), torch.nn.functional.linear(x, weight))
