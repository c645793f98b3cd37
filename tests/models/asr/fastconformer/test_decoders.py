"""Greedy decoders: one row at a time, in any batch, in any cut, and interrupted."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from models.asr.fastconformer.ctc import CtcDecoder
from models.asr.fastconformer.decoder import Decoder, Token
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.transducer import TransducerDecoder
from models.base import StreamError
from tests.models.asr.fastconformer import small

CAPACITY = 6
FRAMES = 60
Make = Callable[..., Decoder]
Reference = Callable[[FastConformer, Tensor], list[Token]]
HEADS = [(CtcDecoder, small.ctc_reference), (TransducerDecoder, small.rnnt_reference)]
both = pytest.mark.parametrize(("make", "reference"), HEADS, ids=["ctc", "rnnt"])


@pytest.fixture(scope="module")
def network() -> FastConformer:
    return small.network()


@both
@pytest.mark.parametrize("layers", [1, 2])
def test_a_batch_of_streams(make: Make, reference: Reference, layers: int) -> None:
    network = small.network(layers=layers)
    encoded = small.frames(CAPACITY, FRAMES)
    tokens = small.certain(make(network, CAPACITY).step([3, 1, 0, 5, 2, 4], encoded))
    assert all(small.same(row, reference(network, frames)) for row, frames in zip(tokens, encoded, strict=True))


@both
def test_streams_that_step_when_they_can(network: FastConformer, make: Make, reference: Reference) -> None:
    """Each is cut elsewhere, and shares each step with whichever others have as much."""
    encoded = small.frames(CAPACITY, FRAMES)
    decoder = make(network, CAPACITY)
    steps = small.ragged(encoded, lambda slots, rows: small.certain(decoder.step(slots, rows)))
    tokens = [[token for new in stream for token in new] for stream in steps]
    assert all(small.same(row, reference(network, frames)) for row, frames in zip(tokens, encoded, strict=True))
    assert all(decoder.silence(slot) == FRAMES - 1 - tokens[slot][-1].frame for slot in range(CAPACITY))


@both
def test_reset(network: FastConformer, make: Make, reference: Reference) -> None:
    first, second = small.frames(2, FRAMES)
    decoder = make(network, CAPACITY)
    small.certain(decoder.step([2], first[None]))
    decoder.reset(2)
    assert small.same(small.certain(decoder.step([2], second[None]))[0], reference(network, second))


@both
def test_a_peek_changes_nothing(network: FastConformer, make: Make, reference: Reference) -> None:
    encoded = small.frames(1, FRAMES)[0]
    decoder = make(network, CAPACITY)
    tokens = small.certain(decoder.step([2], encoded[None, :25]))[0]
    silence = decoder.silence(2)
    seen = small.certain(decoder.peek([2], encoded[None, 25:40]))[0]
    assert small.same(tokens + seen, reference(network, encoded[:40]))
    assert decoder.silence(2) == silence
    assert small.same(tokens + small.certain(decoder.step([2], encoded[None, 25:]))[0], reference(network, encoded))


@both
def test_a_snapshot_goes_on_in_another_slot(network: FastConformer, make: Make, reference: Reference) -> None:
    encoded = small.frames(1, FRAMES)[0]
    decoder, other = make(network, CAPACITY), make(network, CAPACITY)
    tokens = small.certain(decoder.step([2], encoded[None, :31]))[0]
    other.restore(5, decoder.snapshot(2))
    assert other.silence(5) == decoder.silence(2)
    assert small.same(tokens + small.certain(other.step([5], encoded[None, 31:]))[0], reference(network, encoded))


@both
@pytest.mark.parametrize("snapshot", [b"", b"\x80", b"\x81\xa6frames\xc4\x01\x00"])
def test_snapshots_of_something_else(network: FastConformer, make: Make, reference: Reference, snapshot: bytes) -> None:
    encoded = small.frames(1, FRAMES)
    decoder = make(network, CAPACITY)
    with pytest.raises(StreamError, match="does not fit"):
        decoder.restore(2, snapshot)
    assert small.same(small.certain(decoder.step([2], encoded))[0], reference(network, encoded[0]))


@both
def test_a_step_that_fails_leaves_the_slots_as_they_were(
    network: FastConformer, make: Make, reference: Reference
) -> None:
    encoded = small.frames(2, FRAMES)
    decoder = make(network, CAPACITY)
    tokens = small.certain(decoder.step([1, 2], encoded[:, :20]))
    with pytest.raises(RuntimeError):
        small.certain(decoder.step([1, 2], encoded[:, 20:, :-1]))
    rest = small.certain(decoder.step([1, 2], encoded[:, 20:]))
    for row in range(2):
        assert small.same([*tokens[row], *rest[row]], reference(network, encoded[row]))


@both
def test_bf16_is_close(network: FastConformer, make: Make, reference: Reference) -> None:
    """Most tokens are those of fp32; their probabilities add up in fp32."""
    encoded = small.frames(CAPACITY, FRAMES)
    decoder = make(network, CAPACITY, torch.bfloat16)
    tokens = small.certain(decoder.step(range(CAPACITY), encoded))
    assert all(-30 < token.logprob <= 0 for row in tokens for token in row)
    agree = [_agreement(row, reference(network, frames)) for row, frames in zip(tokens, encoded, strict=True)]
    assert sum(agree) / CAPACITY > 0.7


def _agreement(got: Sequence[Token], wanted: Sequence[Token]) -> float:
    one, other = ({token[:2] for token in tokens} for tokens in (got, wanted))
    return len(one & other) / max(len(one | other), 1)


def test_a_network_without_the_head() -> None:
    with pytest.raises(ValueError, match="no RNNT head"):
        TransducerDecoder(small.network(rnnt=False), 1)
    with pytest.raises(ValueError, match="no CTC head"):
        CtcDecoder(small.network(ctc=False), 1)
