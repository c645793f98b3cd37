from itertools import pairwise

import pytest
import torch

from models.asr.fastconformer.config import Config, EncoderConfig, RnntConfig
from models.asr.fastconformer.network import FastConformer
from training.asr.batches import collate
from training.asr.losses import _flat, learning_rate, losses, subsample
from training.asr.recipe import Optimisation

CONFIG = Config(
    20,
    EncoderConfig(layers=2, width=16, heads=2, feedforward=32, subsampling_channels=8),
    rnnt=RnntConfig(prediction_width=8, joint_width=8),
)


@pytest.fixture
def network() -> FastConformer:
    torch.manual_seed(0)
    return FastConformer(CONFIG)


def test_fast_subsampling_equals_the_module(network: FastConformer) -> None:
    """To float32's rounding of sums in another order."""
    lengths = torch.tensor([101, 64, 7, 1])
    mels = torch.randn(4, 101, 80) * (torch.arange(101) < lengths[:, None])[..., None]
    expected, expected_lengths = network.encoder.pre_encode(mels, lengths)
    got, got_lengths = subsample(network.encoder.pre_encode, mels, lengths)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert got_lengths.tolist() == expected_lengths.tolist()


@pytest.mark.parametrize("rnnt", [False, True])
def test_every_parameter_in_use_gets_a_gradient(network: FastConformer, rnnt: bool) -> None:
    batch = collate([torch.randn(90, 80), torch.randn(40, 80)], [[1, 2, 3], []])
    parts = losses(network, batch, 1, Optimisation(rnnt_after=5), 5 if rnnt else 4)
    assert all(part.isfinite() for part in parts.values())
    parts["total"].backward()  # type: ignore[no-untyped-call]
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    head = {name for name, _ in network.named_parameters() if name.startswith(("decoder.", "joint."))}
    assert idle == (set() if rnnt else head)


def test_a_batch_in_which_nothing_is_said_still_teaches_silence(network: FastConformer) -> None:
    parts = losses(network, collate([torch.randn(90, 80)], [[]]), 0, Optimisation(), step=10_000)
    assert set(parts) == {"total", "ctc", "inner_ctc"}
    assert parts["ctc"] > 0


def test_the_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    how = Optimisation(learning_rate=1.0, warmup=10, decay=0.5)
    rates = [learning_rate(step, 100, how) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:51] == [1.0] * 41
    assert all(a > b for a, b in pairwise(rates[50:]))
    assert rates[100] == 0


def test_a_flat_start_has_tokens_where_they_are_said() -> None:
    """Of 10 frames, 2 to 7 say three tokens, which are wanted a frame later; the likelihood of just that is 1."""
    batch = collate([torch.zeros(80, 80)], [[4, 5, 6]], [[(0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]])
    labels = torch.tensor([[20, 20, 20, 4, 4, 5, 5, 6, 6, 20]])
    certain = torch.nn.functional.one_hot(labels, 21).float().log().clamp(min=-50)
    assert _flat(certain, torch.tensor([10]), batch) == 0
    assert _flat(certain.flip(1), torch.tensor([10]), batch) > 10
