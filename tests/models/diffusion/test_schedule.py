import pytest
import torch
from diffusers import LCMScheduler

from kernels.lcm import Coefficient, lcm_step
from models.diffusion.options import INFERENCE_STEPS
from models.diffusion.schedule import Schedule


@pytest.mark.parametrize("index", [0, 16, 32, 45, 49])
def test_a_stage_without_guidance_is_diffusers_lcm_step(index: int) -> None:
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    theirs = LCMScheduler(**options)
    theirs.set_timesteps(INFERENCE_STEPS)
    x, predicted = torch.randn(2, 1, 64, generator=torch.Generator().manual_seed(index))
    expected = theirs.step(predicted, int(theirs.timesteps[index]), x).denoised

    stages = Schedule(LCMScheduler(**options)).stages([index], renoise=True)
    assert stages.timesteps.tolist() == [theirs.timesteps[index]]
    stages.coefficients[:, Coefficient.GUIDANCE] = 1
    latents, nothing = x.clone(), torch.zeros(1, 64)
    places = torch.tensor([[0, 0, -1]], dtype=torch.int32)
    lcm_step(latents, nothing, nothing, predicted, nothing[:0], places, stages.coefficients)

    torch.testing.assert_close(latents, expected)


def test_a_later_stage_begins_where_the_former_says() -> None:
    stages = Schedule(LCMScheduler()).stages([10, 30], renoise=True).coefficients
    assert stages[0, Coefficient.NEXT_ALPHA] == stages[1, Coefficient.ALPHA]
    assert stages[0, Coefficient.NEXT_BETA] == stages[0, Coefficient.RENOISE] == stages[1, Coefficient.BETA]
    assert stages[1, [Coefficient.NEXT_ALPHA, Coefficient.NEXT_BETA, Coefficient.RENOISE]].tolist() == [1, 1, 0]
    silent = Schedule(LCMScheduler()).stages([10, 30], renoise=False).coefficients
    assert silent[:, Coefficient.RENOISE].tolist() == [0, 0]
