"""A network of many languages is told which one it hears: its encoder's frames pass through an MLP beside a one-hot
vector of the language (NeMo's `EncDecRNNTBPEModelWithPrompt`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.config import PromptConfig
from models.linear import pack


def prompt_kernel(config: PromptConfig, width: int) -> nn.Sequential:
    """The MLP, `[..., width + prompts]` to `[..., width]`."""
    first, last = nn.Linear(width + config.prompts, config.hidden_width), nn.Linear(config.hidden_width, width)
    return nn.Sequential(first, nn.ReLU(), last)


def beside_languages(encoded: Tensor, config: PromptConfig, languages: Sequence[str | None]) -> Tensor:
    """Encoder frames `[B, T, width]` of B languages to the input of the MLP, `[B, T, width + prompts]`."""
    numbers = torch.tensor([config.number(language) for language in languages], device=encoded.device)
    prompts = functional.one_hot(numbers, config.prompts).to(encoded.dtype)
    return torch.cat([encoded, prompts[:, None].expand(-1, encoded.shape[1], -1)], -1)


class StreamingPrompt:
    """The MLP with weights in `dtype`. A one-hot vector picks a column of its first layer."""

    @torch.no_grad()
    def __init__(self, kernel: nn.Sequential, width: int, dtype: torch.dtype) -> None:
        first, last = kernel[0], kernel[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        self._frames = pack(first.weight[:, :width].to(dtype).contiguous())
        self._prompts = (first.weight[:, width:].T + first.bias).to(dtype)
        """What each adds, `[prompts, hidden_width]`."""
        self._last = pack(last.weight.to(dtype), last.bias.to(dtype))

    def __call__(self, encoded: Tensor, prompts: Tensor) -> Tensor:
        """Encoder frames `[B, T, width]` of languages with the numbers `[B]` to `[B, T, width]`."""
        return self._last(functional.relu(self._frames(encoded) + self._prompts[prompts][:, None]))
