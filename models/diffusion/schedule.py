"""Which noise levels a session denoises at."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import LCMScheduler
from torch import Tensor

from kernels.lcm import Coefficient
from models.diffusion.options import INFERENCE_STEPS


class Stages(NamedTuple):
    """Of a session's schedule: `timesteps` int64 `[N]` and `coefficients` float32 `[N, 9]`, those of guidance unset."""

    timesteps: Tensor
    coefficients: Tensor


class Schedule:
    """The noise levels of a checkpoint's scheduler."""

    def __init__(self, scheduler: LCMScheduler) -> None:
        scheduler.set_timesteps(INFERENCE_STEPS)
        self._scheduler = scheduler

    def levels(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of signal and noise at `timesteps` `[N]`: float32 `[N]` each, on their device."""
        abar = self._scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        return abar.sqrt(), (1 - abar).sqrt()

    def stages(self, t_indices: Sequence[int], renoise: bool) -> Stages:
        """Denoising at the timesteps of these indices, 0 (pure noise) to 49, in rising order."""
        timesteps = self._scheduler.timesteps[list(t_indices)].cpu()
        alpha, beta = self.levels(timesteps)
        scalings = [self._scheduler.get_scalings_for_boundary_condition_discrete(t) for t in timesteps]
        last = torch.ones(1)
        coefficients = torch.zeros(len(timesteps), len(Coefficient))
        coefficients[:, Coefficient.ALPHA] = alpha
        coefficients[:, Coefficient.BETA] = beta
        coefficients[:, Coefficient.SKIP] = torch.stack([torch.as_tensor(skip) for skip, _ in scalings])
        coefficients[:, Coefficient.OUT] = torch.stack([torch.as_tensor(out) for _, out in scalings])
        coefficients[:, Coefficient.NEXT_ALPHA] = torch.cat([alpha[1:], last])
        coefficients[:, Coefficient.NEXT_BETA] = torch.cat([beta[1:], last])
        coefficients[:, Coefficient.RENOISE] = torch.cat([beta[1:], last - 1]) * renoise
        return Stages(timesteps, coefficients)
