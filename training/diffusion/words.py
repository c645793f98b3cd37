"""What words mean, before anything is painted: prompts of one look become one code, far from those of others."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from training.diffusion.prompts import Phrasebook
from training.diffusion.styles import STYLES

_STEPS = 600
_BATCH = 64
_LEARNING_RATE = 1e-3


def learn_words(pooling: nn.Module, width: int, phrases: Phrasebook) -> float:
    """Teach a UNet's `add_embedding`, text states `[B, tokens, width of the text encoder]` to `[B, width]`, a random
    code of -1 and 1 for each look. It stays as it is from then on. Returns the last mean squared error.
    """
    codes = torch.randn(len(STYLES), width).sign()
    optimiser = torch.optim.AdamW(pooling.parameters(), lr=_LEARNING_RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, _STEPS)
    loss = torch.zeros(())
    for _ in range(_STEPS):
        styles = torch.randint(len(STYLES), (_BATCH,))
        loss = mse_loss(pooling(phrases.say(styles)), codes[styles])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    pooling.requires_grad_(False)
    return float(loss.detach())
