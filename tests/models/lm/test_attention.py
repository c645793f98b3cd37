"""Both forms of attention against torch's own."""

import pytest
import torch

from models.lm.attention import MIN_PRODUCT_SLOTS, attend


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("slots", [1, MIN_PRODUCT_SLOTS - 1, MIN_PRODUCT_SLOTS, 9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_attention(slots: int, biased: bool, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    queries = torch.randn(slots, 2, 3, 16, dtype=dtype)
    keys, values = torch.randn(2, slots + 2, 2, 40, 16, dtype=dtype)[:, 1:-1, :, :33]
    bias = torch.zeros(slots, 1, 3, 33, dtype=dtype)
    bias.masked_fill_(torch.arange(33) > torch.randint(33, (slots, 1, 1, 1)), float("-inf"))
    mask = bias if biased else None
    wanted = torch.nn.functional.scaled_dot_product_attention(
        queries.float(), keys.float(), values.float(), attn_mask=None if mask is None else mask.float()
    )
    got = attend(queries, keys, values, mask, length=1)
    torch.testing.assert_close(got.float(), wanted, atol=tolerance, rtol=tolerance)
