"""Packed linear layers against plain arithmetic in fp32."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import linear
from models.linear import Activation, fastest_dtype, onednn_takes, pack, pack_add, smallest_dtype

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
"""Of values of order 4: rounding of sums in fp32, and of the result in bf16."""


@pytest.fixture(params=[True, False], ids=["prepacked", "plain"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one, or one that oneDNN does nothing for."""
    if not request.param:
        monkeypatch.setattr(linear, "onednn_takes", lambda dtype: False)


def layer(dtype: torch.dtype, bias: bool) -> tuple[Tensor, Tensor | None, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((48, 24), (5, 24)))
    return weight, torch.randn(48, generator=generator).to(dtype) if bias else None, rows / 5


def product(weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    return functional.linear(rows.float(), weight.float(), None if bias is None else bias.float())


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1)])
def test_products_and_activations(dtype: torch.dtype, bias: bool, shape: tuple[int, ...]) -> None:
    weight, offset, rows = layer(dtype, bias)
    plain = product(weight, offset, rows)
    activated = functional.relu(plain), functional.silu(plain)
    wanted: list[tuple[Activation, Tensor]] = [("none", plain), ("relu", activated[0]), ("silu", activated[1])]
    for activation, result in wanted:
        got = pack(weight, offset, activation)(rows.view(*shape, 24))
        assert got.dtype == dtype
        assert got.shape == (*shape, 48)
        torch.testing.assert_close(got.view(5, 48).float(), result, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_addition_leaves_the_residual(dtype: torch.dtype, bias: bool) -> None:
    weight, offset, rows = layer(dtype, bias)
    residual = torch.ones(5, 48, dtype=dtype)
    got = pack_add(weight, offset)(rows, residual)
    torch.testing.assert_close(got.float(), 1 + product(weight, offset, rows), atol=TOLERANCES[dtype], rtol=0)
    assert (residual == 1).all()


def test_no_dtype_is_chosen_that_must_be_emulated() -> None:
    for dtype in (fastest_dtype(), smallest_dtype()):
        assert dtype == torch.float32 or onednn_takes(dtype)
