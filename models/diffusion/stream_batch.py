"""Frames of many sessions, each at its own stage of denoising, in one call of the network."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from kernels.lcm import Coefficient, lcm_step
from models.diffusion.options import MAX_STAGES, Denoising, Guidance
from models.diffusion.schedule import Schedule

_EMPTY = -1


class Predictor(Protocol):
    """The noise in latents `[R, C, h, w]` at timesteps int64 `[R]`, for embeddings `[R, tokens, width]`."""

    def __call__(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor: ...


class Finished(NamedTuple):
    """Latents `[B, C, h, w]` of the frames that are done, with the slots and tickets of each."""

    slots: list[int]
    tickets: list[int]
    latents: Tensor


class StreamBatch:
    """A slot's frames stay in the cell they entered while their stage goes up; each `step` moves all of them on by one.

    A frame's numbers depend on nothing but its own slot: not on its neighbours, nor on frames before it.
    """

    def __init__(
        self, predict: Predictor, schedule: Schedule, capacity: int, shape: tuple[int, int, int], device: torch.device
    ) -> None:
        """`shape` is a latent's."""
        cells = capacity, MAX_STAGES
        self._predict = predict
        self._schedule = schedule
        self._shape = shape
        self._latents = torch.zeros(*cells, *shape, device=device)
        self._stock = torch.zeros_like(self._latents)
        self._noise = torch.zeros_like(self._latents)
        """By stage, unlike the others."""
        self._timesteps = torch.zeros(cells, dtype=torch.long, device=device)
        self._coefficients = torch.zeros(*cells, len(Coefficient), device=device)
        self._stages = np.full(cells, _EMPTY)
        """Of the frame in each cell."""
        self._tickets = np.zeros(cells, np.int64)
        self._last = np.zeros(capacity, np.int64)
        """A slot's last stage."""
        self._guidance = np.full(capacity, Guidance.NONE, object)

    def configure(self, slot: int, denoising: Denoising) -> None:
        """Denoise the slot's next frames like this; those under way are dropped."""
        stages = self._schedule.stages(denoising.t_indices, denoising.renoise)
        count = len(stages.timesteps)
        residual = denoising.guidance in (Guidance.SELF, Guidance.ONE_TIME)
        self._stages[slot] = _EMPTY
        self._last[slot] = count - 1
        self._guidance[slot] = denoising.guidance if denoising.guided else Guidance.NONE
        self._timesteps[slot, :count] = stages.timesteps.to(self._timesteps.device)
        stages.coefficients[:, Coefficient.GUIDANCE] = denoising.scale if denoising.guided else 1
        stages.coefficients[:, Coefficient.DELTA] = (denoising.delta if residual else 1) if denoising.guided else 0
        self._coefficients[slot, :count] = stages.coefficients.to(self._coefficients.device)
        generator = torch.Generator().manual_seed(denoising.seed)
        self._noise[slot, :count] = torch.randn(count, *self._shape, generator=generator).to(self._noise.device)

    def under_way(self, slot: int) -> int:
        """Frames of the slot that have entered and are not done."""
        return int((self._stages[slot] != _EMPTY).sum())

    def enter(self, slots: Sequence[int], tickets: Sequence[int], latents: Tensor) -> None:
        """Begin a frame `[B, C, h, w]` in each of `slots`; its number comes back with the result."""
        rows = np.asarray(slots)
        free = (self._stages[rows] == _EMPTY).argmax(1)
        self._stages[rows, free] = 0
        self._tickets[rows, free] = tickets
        at = torch.from_numpy(rows), torch.from_numpy(free)
        noise, first = self._noise[at[0], 0], self._coefficients[at[0], 0, :, None, None, None]
        self._latents[at] = first[:, Coefficient.ALPHA] * latents.float() + first[:, Coefficient.BETA] * noise
        self._stock[at] = noise

    def withdraw(self, slots: Sequence[int]) -> None:
        """Take back the frame that each of `slots` got last, which has not moved yet."""
        rows = np.asarray(slots, np.int64)
        cells = (self._stages[rows] == 0).argmax(1)
        self._stages[rows, cells] = _EMPTY

    @torch.inference_mode()
    def step(self, slots: Sequence[int], embeddings: Tensor, negatives: Tensor) -> Finished:
        """Move all frames of `slots` on by a stage; embeddings of prompts and negative prompts `[B, tokens, width]`."""
        which, cells = np.nonzero(self._stages[slots] != _EMPTY)
        owners = np.asarray(slots)[which]
        stages = self._stages[owners, cells]
        against = self._against(owners, stages)
        flat = torch.from_numpy(owners * MAX_STAGES + cells)
        planned = torch.from_numpy(owners * MAX_STAGES + stages)
        following = np.where(stages < self._last[owners], stages + 1, 0)

        rows = torch.from_numpy(np.concatenate([np.arange(len(owners)), against]))
        of = torch.from_numpy(which)[rows]
        texts = torch.cat([embeddings[of[: len(owners)]], negatives[of[len(owners) :]]])
        latents, timesteps = self._latents.flatten(0, 1), self._timesteps.flatten()
        predicted = self._predict(latents[flat[rows]], timesteps[planned[rows]], texts)

        own = np.full(len(owners), _EMPTY)
        own[against] = np.arange(len(against))
        places = np.stack([owners * MAX_STAGES + cells, owners * MAX_STAGES + following, own], 1)
        lcm_step(
            latents.flatten(1),
            self._stock.flatten(0, 1).flatten(1),
            self._noise.flatten(0, 1).flatten(1),
            predicted[: len(owners)].flatten(1),
            predicted[len(owners) :].flatten(1),
            torch.from_numpy(places.astype(np.int32)).to(latents.device),
            self._coefficients.flatten(0, 1)[planned],
        )
        return self._advance(owners, cells, stages)

    def snapshot(self, slot: int) -> bytes:
        """The slot's frames under way, from which `restore` goes on."""
        tensors = {"latents": self._latents[slot].cpu(), "stock": self._stock[slot].cpu()}
        places = {"stages": self._stages[slot], "tickets": self._tickets[slot]}
        return save(tensors | {name: torch.from_numpy(row) for name, row in places.items()})

    def restore(self, slot: int, snapshot: bytes) -> None:
        """Set a slot, configured as it was, to a snapshot."""
        tensors = load(snapshot)
        self._latents[slot], self._stock[slot] = tensors["latents"], tensors["stock"]
        self._stages[slot], self._tickets[slot] = tensors["stages"].numpy(), tensors["tickets"].numpy()

    def _against(self, owners: np.ndarray, stages: np.ndarray) -> np.ndarray:
        """Rows that need a prediction for the negative prompt."""
        guidance = self._guidance[owners]
        return np.flatnonzero((guidance == Guidance.FULL) | ((guidance == Guidance.ONE_TIME) & (stages == 0)))

    def _advance(self, owners: np.ndarray, cells: np.ndarray, stages: np.ndarray) -> Finished:
        done = stages == self._last[owners]
        self._stages[owners, cells] = np.where(done, _EMPTY, stages + 1)
        slots, cells = owners[done], cells[done]
        latents = self._latents[torch.from_numpy(slots), torch.from_numpy(cells)]
        return Finished(slots.tolist(), self._tickets[slots, cells].tolist(), latents)
