import random
from pathlib import Path

import pytest
import torch

from benchmarks import peers
from models.diffusion.networks import Networks
from models.diffusion.options import Denoising, Guidance
from models.diffusion.stream_batch import StreamBatch
from tests.models.diffusion import checkpoints
from tests.models.diffusion.checkpoints import SIZE

PROMPT, NEGATIVE = "a cat", "a dog"
STAGES = [(35,), (32, 45), (0, 16, 32, 45)]
TOLERANCE = 1e-4
"""Of the largest latent or pixel, in float32: the same arithmetic, summed in another order. From pure noise a latent is
divided by an alpha of 0.07, which makes both larger.
"""


def assert_close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * max(1, float(expected.abs().max())))


def batch(networks: Networks, capacity: int = 1) -> StreamBatch:
    return StreamBatch(
        networks.predict, networks.schedule, capacity, networks.latent_shape(SIZE, SIZE), networks.device
    )


def step(networks: Networks, stream: StreamBatch, slots: list[int]) -> list[tuple[int, int, torch.Tensor]]:
    texts = [networks.embed(text).expand(len(slots), -1, -1) for text in (PROMPT, NEGATIVE)]
    done = stream.step(slots, *texts)
    return list(zip(done.slots, done.tickets, done.latents, strict=True))


def restyle(networks: Networks, frames: torch.Tensor, denoising: Denoising) -> list[torch.Tensor]:
    """A session alone, to its last frame."""
    stream, done = batch(networks), []
    stream.configure(0, denoising)
    for ticket, frame in enumerate(frames):
        stream.enter([0], [ticket], networks.encode(frame[None]))
        done += step(networks, stream, [0])
    while stream.under_way(0):
        done += step(networks, stream, [0])
    assert [ticket for _, ticket, _ in done] == list(range(len(frames)))
    return [latent for *_, latent in done]


@pytest.mark.parametrize("t_indices", STAGES)
@pytest.mark.parametrize("guidance", Guidance)
@pytest.mark.parametrize("renoise", [True, False])
def test_a_session_is_upstreams(
    networks: Networks, saved: Path, frames: torch.Tensor, t_indices: tuple[int, ...], guidance: Guidance, renoise: bool
) -> None:
    """Frame by frame. With one stage, upstream never resets the stock noise of self-negative guidance, which then grows
    beyond bounds; its first frame is right.
    """
    upstream = peers.streamdiffusion().StreamDiffusion(
        checkpoints.pipeline(saved.parent / "again"),
        list(t_indices),
        torch.float32,
        SIZE,
        SIZE,
        do_add_noise=renoise,
        cfg_type="initialize" if guidance is Guidance.ONE_TIME else guidance.value,
    )
    upstream.prepare(PROMPT, NEGATIVE, guidance_scale=1.5, delta=0.8, generator=torch.Generator(), seed=5)
    if guidance is Guidance.SELF and len(t_indices) == 1:
        upstream.stock_noise, frames = upstream.init_noise.clone(), frames[:1]
    lag = len(t_indices) - 1
    with torch.inference_mode():
        flush = [frames[-1]] * lag
        latents = [upstream.predict_x0_batch(upstream.encode_image(frame[None])) for frame in [*frames, *flush]][lag:]
        images = torch.cat([upstream.decode_image(latent) for latent in latents])

    ours = restyle(networks, frames, Denoising(t_indices, guidance, 1.5, 0.8, 5, renoise))

    assert_close(torch.stack(ours), torch.cat(latents))
    assert_close(networks.decode(torch.stack(ours)), images, 20 * TOLERANCE)  # a random decoder amplifies
    assert len(latents) < 2 or (latents[0] - latents[1]).abs().max() > 1_000 * TOLERANCE


def test_sessions_do_not_see_each_other(networks: Networks, frames: torch.Tensor) -> None:
    """Five sessions with settings of their own join and leave at random; each gives what it gives alone."""
    settings = [
        Denoising((35,), Guidance.NONE, seed=1),
        Denoising((32, 45), Guidance.SELF, 1.4, 0.7, seed=2),
        Denoising((0, 16, 32, 45), Guidance.ONE_TIME, 1.6, seed=3),
        Denoising((10, 30, 45), Guidance.FULL, 2.0, seed=4),
        Denoising((20, 40), Guidance.SELF, seed=5, renoise=False),
    ]
    alone = [restyle(networks, frames[slot:], setting) for slot, setting in enumerate(settings)]
    stream, dice = batch(networks, len(settings)), random.Random(0)
    got: list[list[torch.Tensor]] = [[] for _ in settings]
    fed, begun = [0] * len(settings), set[int]()
    while any(len(mine) < len(theirs) for mine, theirs in zip(got, alone, strict=True)):
        slots = dice.sample(range(len(settings)), dice.randint(1, len(settings)))
        for slot in set(slots) - begun:
            stream.configure(slot, settings[slot])
        begun |= {*slots}
        entering = [slot for slot in slots if fed[slot] < len(alone[slot])]
        if entering:
            images = torch.stack([frames[slot + fed[slot]] for slot in entering])
            stream.enter(entering, [fed[slot] for slot in entering], networks.encode(images))
        for slot in entering:
            fed[slot] += 1
        slots = [slot for slot in slots if stream.under_way(slot)]
        for slot, ticket, latent in step(networks, stream, slots) if slots else []:
            assert ticket == len(got[slot])
            got[slot].append(latent)
    for mine, theirs in zip(got, alone, strict=True):
        assert_close(torch.stack(mine), torch.stack(theirs))


def test_another_schedule_drops_what_is_under_way(networks: Networks, frames: torch.Tensor) -> None:
    stream = batch(networks)
    stream.configure(0, Denoising((0, 16, 32, 45)))
    stream.enter([0], [0], networks.encode(frames[:1]))
    step(networks, stream, [0])
    stream.configure(0, Denoising((35,)))
    assert stream.under_way(0) == 0
    stream.enter([0], [1], networks.encode(frames[1:2]))
    ((slot, ticket, latent),) = step(networks, stream, [0])
    assert (slot, ticket) == (0, 1)
    torch.testing.assert_close(latent, restyle(networks, frames[1:2], Denoising((35,)))[0])
