"""A few-step restyling model: `python -m training.diffusion.train RECIPE LESSONS --text-encoder DIR --out DIR`.

First the autoencoder, of pictures and of paintings alike; then what words mean; then, while encoder and words stay, the
UNet and the decoder together, by what the teacher made. OUT gets a diffusers pipeline, which Millstream serves, and
`resume.pt`, from which the same command goes on.
"""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer
from diffusers import AutoencoderTiny, LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from torch.utils.data import DataLoader

from models.diffusion.networks import DENOISING
from models.diffusion.options import INFERENCE_STEPS
from training.diffusion.lessonbook import Lesson, LessonBook
from training.diffusion.losses import Weights, likeness, unlike_textures
from training.diffusion.perceptual import Perceptual
from training.diffusion.prompts import Phrasebook, read_text_encoder
from training.diffusion.recipe import Phase, Recipe, read_recipe
from training.diffusion.words import learn_words
from training.precision import mixed

RESUME = "resume.pt"
_UNIT = 0.1
"""Weight of how far latents are from unit variance."""
_RECONSTRUCTION = Weights(edges=0.5)


class Run:
    """The networks, their optimiser and how far they are: `step` of the phase of that number."""

    def __init__(self, recipe: Recipe, out: Path, phrases: Phrasebook, perceptual: Perceptual) -> None:
        self.recipe, self.out, self.phrases, self._perceptual = recipe, out, phrases, perceptual
        self._perceptual.to(memory_format=torch.channels_last)
        self.autoencoder = AutoencoderTiny(**recipe.autoencoder).to(memory_format=torch.channels_last)
        self.unet = UNet2DConditionModel(**recipe.unet).to(memory_format=torch.channels_last)
        self.scheduler = LCMScheduler(**recipe.scheduler)
        self.scheduler.set_timesteps(INFERENCE_STEPS)
        self.phases = (recipe.reconstruction, *recipe.painting)
        self.phase = self.step = 0
        self._optimiser = self._new_optimiser()

    def advance(self, lesson: Lesson) -> dict[str, float]:
        """One step; the losses before it."""
        phase = self.phases[self.phase]
        for group in self._optimiser.param_groups:
            group["lr"] = _learning_rate(self.step, phase)
        with mixed():
            parts = self._paint(lesson) if self.phase else self._reconstruct(lesson)
        total = sum(parts.values(), torch.zeros(()))
        self._optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._trained(), phase.clip_norm)
        if norm.isfinite():
            self._optimiser.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()} | {"norm": float(norm)}

    def next_phase(self) -> None:
        """Begin the phase after this one."""
        if not self.phase:
            learn_words(self.unet.add_embedding, self.unet.time_embedding.linear_2.out_features, self.phrases)
        self.phase, self.step = self.phase + 1, 0
        self._optimiser = self._new_optimiser()

    def save(self) -> None:
        """What resuming needs, in one move."""
        state = {
            "autoencoder": self.autoencoder.state_dict(),
            "unet": self.unet.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "phase": self.phase,
            "step": self.step,
        }
        torch.save(state, self.out / f"{RESUME}.new")
        (self.out / f"{RESUME}.new").replace(self.out / RESUME)

    def start(self, checkpoint: Path) -> None:
        """Begin painting with the weights of a pipeline."""
        self.autoencoder.load_state_dict(AutoencoderTiny.from_pretrained(checkpoint / "vae").state_dict())
        self.unet.load_state_dict(UNet2DConditionModel.from_pretrained(checkpoint / "unet").state_dict())
        self.unet.add_embedding.requires_grad_(False)
        self.phase = 1
        self._optimiser = self._new_optimiser()

    def resume(self) -> None:
        """Go on where `save` left off."""
        state = torch.load(self.out / RESUME, weights_only=True)
        self.autoencoder.load_state_dict(state["autoencoder"])
        self.unet.load_state_dict(state["unet"])
        self.phase, self.step = state["phase"], state["step"]
        self.unet.add_embedding.requires_grad_(not self.phase)
        self._optimiser = self._new_optimiser()
        self._optimiser.load_state_dict(state["optimiser"])

    def export(self, text_encoder: Path) -> None:
        """Write the pipeline."""
        tokenizer, encoder = read_text_encoder(text_encoder)
        pipeline = StableDiffusionPipeline(
            vae=self.autoencoder,
            text_encoder=encoder,
            tokenizer=tokenizer,
            unet=self.unet,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(dtype=torch.bfloat16)
        pipeline.save_pretrained(self.out)
        (self.out / DENOISING).write_bytes(msgspec.json.encode(self.recipe.denoising))
        pipeline.to(dtype=torch.float32)

    def _trained(self) -> list[torch.nn.Parameter]:
        networks = [self.autoencoder.decoder, self.unet] if self.phase else [self.autoencoder]
        return [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]

    def _new_optimiser(self) -> torch.optim.AdamW:
        decay = self.phases[self.phase].weight_decay
        return torch.optim.AdamW(self._trained(), betas=(0.9, 0.99), weight_decay=decay, fused=True)

    def _reconstruct(self, lesson: Lesson) -> dict[str, Tensor]:
        images = _images(torch.cat([lesson.pictures[::2], lesson.wanted[1::2]]))
        latents = self.autoencoder.encoder(images)
        unit = _UNIT * (latents.float().square().mean((0, 2, 3)) - 1).square().mean()
        return likeness(self.autoencoder.decoder(latents), images, _RECONSTRUCTION) | {"unit": unit}

    def _paint(self, lesson: Lesson) -> dict[str, Tensor]:
        pictures, wanted = _images(lesson.pictures), _images(lesson.wanted)
        painted = torch.rand(len(pictures)) < self.phases[self.phase].painted
        with torch.no_grad():
            latents = self.autoencoder.encoder(torch.where(painted[:, None, None, None], wanted, pictures)).float()
        timesteps = self.scheduler.timesteps[self._stages(len(pictures))]
        noisy = self.scheduler.add_noise(latents, torch.randn_like(latents), timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        embeddings = self.phrases.say(lesson.styles)
        predicted = self.unet(noisy, timesteps, encoder_hidden_states=embeddings, return_dict=False)[0]
        predicted, wanted = _window(predicted, wanted, self.recipe.window)
        images, weights = self.autoencoder.decoder(predicted), self.recipe.likeness
        parts = likeness(images, wanted, weights)
        if weights.textures:
            parts["textures"] = weights.textures * unlike_textures(images, wanted, self._perceptual)
        return parts

    def _stages(self, count: int) -> Tensor:
        """Indices of timesteps."""
        half = INFERENCE_STEPS // 2
        any_stage = torch.randint(half, (count,)) + half * (torch.rand(count) < self.recipe.faint)
        served = torch.tensor(self.recipe.denoising.t_indices)[
            torch.randint(len(self.recipe.denoising.t_indices), (count,))
        ]
        return torch.where(torch.rand(count) < self.recipe.served, served, any_stage)


def _window(latents: Tensor, wanted: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The same random square of both, of `side` pixels at most."""
    scale = wanted.shape[3] // latents.shape[3]
    inner = min(side // scale, latents.shape[3])
    top, left = torch.randint(latents.shape[3] - inner + 1, (2,)).tolist()
    latents = latents[..., top : top + inner, left : left + inner]
    top, left, outer = top * scale, left * scale, inner * scale
    return latents, wanted[..., top : top + outer, left : left + outer]


def _images(pixels: Tensor) -> Tensor:
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _learning_rate(step: int, phase: Phase) -> float:
    rising = min(1.0, (step + 1) / phase.warmup)
    falling = min(1.0, (phase.steps - step) / (phase.steps * phase.decay))
    return phase.learning_rate * rising * falling


def main(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", exists=True, help="TOML, such as small.toml.")],
    lessons: Annotated[Path, typer.Argument(exists=True, help="Shards of training.diffusion.lessons; may grow.")],
    text_encoder: Annotated[Path, typer.Option(exists=True, help="all-MiniLM-L6-v2, or another BERT.")],
    perceptual: Annotated[Path, typer.Option(exists=True, help="efficientnet-lite0-57934424.pth.")],
    out: Annotated[Path, typer.Option(help="Where the pipeline goes.")],
    start: Annotated[Path | None, typer.Option(exists=True, help="A pipeline to go on painting with.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the networks.")] = 2,
    save_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 250,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(read_recipe(recipe_file), out, Phrasebook(text_encoder, seed), Perceptual(perceptual))
    if (out / RESUME).exists():
        run.resume()
    elif start is not None:
        run.start(start)
    while True:
        phase = run.phases[run.phase]
        book = LessonBook(lessons, phase.batch, phase.side, seed + run.phase * 1_000_000 + run.step, run.recipe.often)
        torch.manual_seed(seed + run.step)
        began, first = time.monotonic(), run.step
        for lesson in DataLoader(book, batch_size=None, num_workers=1, prefetch_factor=4):
            if run.step >= phase.steps:
                break
            parts = run.advance(lesson)
            pace = (run.step - first) / (time.monotonic() - began)
            line = {"phase": run.phase, "step": run.step, "steps_per_s": pace, **parts}
            print(msgspec.json.encode({k: round(v, 4) for k, v in line.items()}).decode(), flush=True)
            if run.step % save_every == 0:
                run.save()
        if run.phase + 1 == len(run.phases):
            break
        run.next_phase()
    run.save()
    run.export(text_encoder)


if __name__ == "__main__":
    typer.run(main)
