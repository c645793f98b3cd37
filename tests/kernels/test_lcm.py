import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels import lcm
from kernels.lcm import Coefficient, lcm_step, lcm_step_torch

Tensors = tuple[torch.Tensor, ...]
NUMBERS = 1_100
"""More than a block, and not a multiple of one."""


def inputs(dtype: torch.dtype, rows: int = 3, cells: int = 8) -> Tensors:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    coefficients = 0.2 + torch.rand(rows, len(Coefficient), generator=generator)
    places = torch.tensor([[6, 1, -1], [0, 2, 1], [3, 3, 0]], dtype=torch.int32)[:rows]
    state = [normal(cells, NUMBERS) for _ in range(3)]
    return *state, normal(rows, NUMBERS), normal(2, NUMBERS), places, coefficients


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is where Triton interprets kernels, which works on a CPU."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "kernels.lcm")
    yield importlib.import_module("kernels.lcm")
    sys.modules["kernels.lcm"] = lcm


def test_a_row_by_hand() -> None:
    latents, stock, noise = torch.tensor([[3.0]]), torch.tensor([[0.5]]), torch.tensor([[0.25]])
    coefficients = torch.zeros(1, len(Coefficient))
    for column, value in {"ALPHA": 0.8, "BETA": 0.6, "SKIP": 0.1, "OUT": 0.9, "NEXT_ALPHA": 0.96}.items():
        coefficients[0, Coefficient[column]] = value
    for column, value in {"NEXT_BETA": 0.28, "RENOISE": 0.28, "GUIDANCE": 2.0, "DELTA": 0.5}.items():
        coefficients[0, Coefficient[column]] = value
    places = torch.tensor([[0, 0, -1]], dtype=torch.int32)

    lcm_step(latents, stock, noise, torch.tensor([[1.0]]), torch.empty(0, 1), places, coefficients)

    e = 0.25 + 2 * (1 - 0.25)
    x0 = 0.9 * (3 - 0.6 * e) / 0.8 + 0.1 * 3
    drift = 0.9 * (0.6 * 0.5 - 0.6 * e) / 0.8 + 0.1 * 0.6 * 0.5
    assert latents.item() == pytest.approx(0.96 * x0 + 0.28 * 0.25)
    assert stock.item() == pytest.approx(0.25 + 0.96 * drift / 0.28)


def test_a_row_with_a_negative_prediction_takes_it_for_its_stock_noise() -> None:
    latents, stock, noise, predicted, negative, places, coefficients = inputs(torch.float32)
    given = stock.clone()
    given[places[1:, 0].long()] = negative[places[1:, 2].long()]
    expected = latents.clone(), given
    lcm_step(
        *expected, noise, predicted, negative, places * torch.tensor([1, 1, 0]) - torch.tensor([0, 0, 1]), coefficients
    )
    lcm_step(latents, stock, noise, predicted, negative, places, coefficients)
    torch.testing.assert_close((latents, stock), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_the_kernel_is_the_reference(interpreted: ModuleType, dtype: torch.dtype, tolerance: float) -> None:
    """An ulp of the type the numbers are stored in: both compute in float32."""
    expected, got = inputs(dtype), inputs(dtype)
    lcm_step_torch(*expected)
    interpreted.lcm_step_triton(*got)
    for theirs, ours in zip(expected[:2], got[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_the_kernel_compiles_for_real_hardware(capability: int, dtype: str) -> None:
    pointers = dict.fromkeys(("latents", "stock", "noise"), "*fp32") | dict.fromkeys(
        ("predicted", "negative"), f"*{dtype}"
    )
    signature = pointers | {"places": "*i32", "coefficients": "*fp32", "numbers": "i32", "block": "constexpr"}
    source = ASTSource(lcm.lcm_kernel, signature, {"block": 1_024})
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert compiled.asm["cubin"]
