"""The networks of a latent diffusion checkpoint, in diffusers' form."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
import torch
from diffusers import AutoencoderTiny, DiffusionPipeline, LCMScheduler
from torch import Tensor

from models.diffusion.options import Denoising
from models.diffusion.schedule import Schedule

DENOISING = "denoising.json"
"""Beside diffusers' own files: the `Denoising` that a checkpoint was made for, where a session asks for none."""


class CheckpointError(Exception):
    """A directory does not hold what it should."""


class Prediction(StrEnum):
    """What a UNet's output is, as diffusers' schedulers call it."""

    NOISE = "epsilon"
    SAMPLE = "sample"
    VELOCITY = "v_prediction"


class Networks:
    """Text encoder, autoencoder and UNet, all of one type on one device. `denoising` is what they were made for."""

    def __init__(
        self, directory: Path, dtype: torch.dtype, device: torch.device, loras: Sequence[tuple[Path, float]] = ()
    ) -> None:
        """`directory` is a diffusers pipeline with a UNet2DConditionModel, whatever it predicts; `loras` are fused into
        it, each at its scale. Raises CheckpointError.
        """
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                directory, dtype=dtype, use_safetensors=True, local_files_only=True, safety_checker=None
            )
            for file, scale in loras:
                pipeline.load_lora_weights(file.parent, weight_name=file.name)
                pipeline.fuse_lora(lora_scale=scale)
                pipeline.unload_lora_weights()
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{directory}: {error}") from error
        scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
        try:
            self._predicts = Prediction(scheduler.config.prediction_type)
        except ValueError as error:
            raise CheckpointError(f"{directory}: scheduler: prediction_type: {error}") from error
        self._pipeline = pipeline.to(device)
        self._vae = pipeline.vae.eval()
        self._unet = pipeline.unet.eval()
        self.schedule = Schedule(scheduler)
        self.denoising = _denoising(directory / DENOISING)
        self.device, self.dtype = device, dtype

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Channels, height and width of what `encode` makes of an image. Raises CheckpointError."""
        scale = self._pipeline.vae_scale_factor
        multiple = scale * 2 ** (len(self._unet.config.block_out_channels) - 1)
        if height % multiple or width % multiple:
            raise CheckpointError(f"frames must be multiples of {multiple} high and wide, not {height}x{width}")
        return self._unet.config.in_channels, height // scale, width // scale

    @torch.inference_mode()
    def embed(self, prompt: str) -> Tensor:
        """The text encoder's states `[tokens, width]`; what is beyond its window is cut off."""
        embeddings, _ = self._pipeline.encode_prompt(prompt, self.device, 1, do_classifier_free_guidance=False)
        return torch.as_tensor(embeddings[0])

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, -1 to 1, to latents; of an autoencoder that gives a distribution, its mode."""
        encoded = self._vae.encode(images.to(self.device, self.dtype))
        latents = encoded.latents if isinstance(self._vae, AutoencoderTiny) else encoded.latent_dist.mode()
        return torch.as_tensor(latents * self._vae.config.scaling_factor)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images `[B, 3, H, W]`, about -1 to 1."""
        scaled = latents.to(self.dtype) / self._vae.config.scaling_factor
        return torch.as_tensor(self._vae.decode(scaled, return_dict=False)[0])

    @torch.inference_mode()
    def predict(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """The noise in latents `[R, C, h, w]`."""
        inputs = latents.to(self.dtype), timesteps
        predicted = torch.as_tensor(self._unet(*inputs, encoder_hidden_states=embeddings, return_dict=False)[0])
        if self._predicts is Prediction.NOISE:
            return predicted
        alpha, beta = (level[:, None, None, None] for level in self.schedule.levels(timesteps))
        if self._predicts is Prediction.SAMPLE:
            return (latents.float() - alpha * predicted) / beta
        return alpha * predicted + beta * latents.float()


def _denoising(file: Path) -> Denoising:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Denoising) if file.exists() else Denoising()
    except msgspec.DecodeError as error:
        raise CheckpointError(f"{file}: {error}") from error
