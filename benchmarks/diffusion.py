"""StreamDiffusion for many against upstream's pipeline: the same networks, dtype and threads, in turn.

Weights are random, since they do not change the cost. Pictures are 256x256; each goes through the autoencoder, two
stages of the UNet and the autoencoder again.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from types import SimpleNamespace

import diffusers
import torch
from diffusers import AutoencoderTiny, LCMScheduler, UNet2DConditionModel
from torch import Tensor

from benchmarks.peers import streamdiffusion
from benchmarks.report import arguments, configuration, report
from models.base import Message
from models.catalog import ensure
from models.diffusion.frames import encode as encode_frame
from models.diffusion.model import StreamDiffusion
from models.diffusion.networks import Networks
from models.diffusion.options import Denoising, Filter, Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.similarity import SimilarityFilter
from models.diffusion.stream_batch import StreamBatch
from models.linear import fastest_dtype
from workers.settings import CommonSettings

SIZE = 256
LATENT = (4, SIZE // 8, SIZE // 8)
TEXT = (77, 256)
STAGES = (32, 45)
FOUR_STAGES = (0, 16, 32, 45)
SESSIONS = 4
SCALE = 1.4
DTYPE = fastest_dtype()
THREADS = 2
STILL_FRAMES = 200

Tick = Callable[[], object]


def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    rounds = 3 if quick else 20
    torch.set_num_threads(THREADS)
    networks = _Networks()
    configuration(
        unet_parameters=sum(parameter.numel() for parameter in networks.unet.parameters()),
        size=SIZE,
        stages=len(STAGES),
        guidance="self",
        dtype=str(DTYPE),
        threads=THREADS,
        rounds=rounds,
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        peer="streamdiffusion 0.1.1",
    )
    _against_upstream(networks, rounds)
    _guidance(networks, rounds)
    _stream_batch(networks, rounds)
    _filter()
    _shipped(rounds)


def _against_upstream(networks: "_Networks", rounds: int) -> None:
    for metric, sessions in (("diffusion.single", 1), ("diffusion.four", SESSIONS)):
        ours, theirs = _Ours(networks, sessions), [_theirs(networks) for _ in range(sessions)]
        pictures = torch.rand(sessions, 3, SIZE, SIZE, dtype=DTYPE) * 2 - 1

        def in_turn(theirs: Sequence[Callable[[Tensor], object]] = theirs, pictures: Tensor = pictures) -> None:
            for upstream, picture in zip(theirs, pictures, strict=True):
                upstream(picture[None])

        def together(ours: _Ours = ours, pictures: Tensor = pictures) -> None:
            ours.tick(pictures)

        mine, other = _times([together, in_turn], rounds)
        calls = networks.calls
        together()
        report(
            metric,
            other / mine,
            "x",
            peer="streamdiffusion, one pipeline a session",
            fps=round(sessions / mine, 2),
            peer_fps=round(sessions / other, 2),
            calls_a_frame=(networks.calls - calls) / sessions,
            peer_calls_a_frame=1,
        )


def _guidance(networks: "_Networks", rounds: int) -> None:
    pictures = torch.rand(1, 3, SIZE, SIZE, dtype=DTYPE)
    residual, full = (_Ours(networks, 1, guidance) for guidance in (Guidance.SELF, Guidance.FULL))
    mine, other = _times([lambda: residual.paint(pictures), lambda: full.paint(pictures)], rounds)
    report("diffusion.rcfg", other / mine, "x", peer="full guidance", latents_per_s=round(1 / mine, 2))


def _stream_batch(networks: "_Networks", rounds: int) -> None:
    """Frames a second with four stages: all in one call, against one call a stage."""
    pictures = torch.rand(1, 3, SIZE, SIZE, dtype=DTYPE)
    batched, alone = _Ours(networks, 1, stages=FOUR_STAGES), _Ours(networks, 1, stages=FOUR_STAGES)

    def sequential() -> None:
        alone.batch.configure(0, alone.denoising)
        alone.paint(pictures)
        for _ in FOUR_STAGES[1:]:
            alone.step()

    mine, other = _times([lambda: batched.paint(pictures), sequential], rounds)
    report("diffusion.stream_batch", other / mine, "x", peer="one stage after the other", stages=len(FOUR_STAGES))


def _filter() -> None:
    similar, picture = SimilarityFilter(Filter(), seed=0), torch.rand(3, SIZE, SIZE)
    skipped = 0
    for _ in range(STILL_FRAMES):
        if similar.skips(picture):
            skipped += 1
        else:
            similar.painted(picture)
    report("diffusion.ssf", skipped / STILL_FRAMES, "share", of="frames of a still scene that cost no network call")


def _shipped(rounds: int) -> None:
    """The model that ships, from JPEG to JPEG, and its parts."""
    directory = ensure("restyle-small", CommonSettings().cache_dir)
    networks = Networks(directory, DTYPE, torch.device("cpu"))
    picture = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    latents, text = networks.encode(picture), networks.embed("starry night")[None]
    timestep = networks.schedule.stages(networks.denoising.t_indices, True).timesteps
    model, frame = StreamDiffusion(directory, 1, height=SIZE, width=SIZE, dtype=DTYPE), encode_frame(picture[0])
    model.open(0, {"prompt": "starry night"})

    def restyle() -> None:
        model.push(0, Message("frame", 0, frame))
        model.step("frame", [0])

    ticks: list[Tick] = [
        restyle,
        lambda: networks.decode(networks.encode(picture)),
        lambda: networks.predict(latents, timestep, text),
    ]
    whole, autoencoder, unet = _times(ticks, 5 * rounds)
    parts = {"autoencoder_ms": round(1e3 * autoencoder, 1), "unet_ms": round(1e3 * unet, 1)}
    report("diffusion.small", 1 / whole, "pictures/s", **parts)


class _Networks:
    """The autoencoder and the UNet that both sides use, and how often the UNet was called."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.calls = 0
        self.unet = UNet2DConditionModel(
            sample_size=LATENT[1],
            block_out_channels=(96, 192, 288),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=TEXT[1],
            attention_head_dim=32,
        ).to(DTYPE)
        self.unet.eval().register_forward_hook(self._count)
        channels = (32,) * 4
        self.vae = AutoencoderTiny(encoder_block_out_channels=channels, decoder_block_out_channels=channels)
        self.vae.eval().to(DTYPE)
        self.scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.text, self.negative = torch.randn(2, *TEXT, dtype=DTYPE)

    def _count(self, *_: object) -> None:
        self.calls += 1

    def predict(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """The noise in latents."""
        predicted = self.unet(latents.to(DTYPE), timesteps, encoder_hidden_states=embeddings, return_dict=False)
        return torch.as_tensor(predicted[0])


class _Ours:
    """Sessions in one engine."""

    def __init__(
        self,
        networks: _Networks,
        sessions: int,
        guidance: Guidance = Guidance.SELF,
        stages: tuple[int, ...] = STAGES,
    ) -> None:
        self.denoising = Denoising(stages, guidance, SCALE)
        schedule = Schedule(networks.scheduler)
        self.batch = StreamBatch(networks.predict, schedule, sessions, LATENT, torch.device("cpu"))
        self._networks = networks
        self._slots = list(range(sessions))
        texts = (networks.text, networks.negative)
        self._texts = [text.expand(sessions, -1, -1) for text in texts]
        for slot in self._slots:
            self.batch.configure(slot, self.denoising)

    @torch.inference_mode()
    def tick(self, pictures: Tensor) -> Tensor:
        """A picture of each session, to what came out."""
        return torch.as_tensor(self._networks.vae.decode(self.paint(pictures).to(DTYPE), return_dict=False)[0])

    @torch.inference_mode()
    def paint(self, pictures: Tensor) -> Tensor:
        """The same without the decoder."""
        latents = self._networks.vae.encode(pictures).latents
        self.batch.enter(self._slots, self._slots, latents)
        return self.step()

    def step(self) -> Tensor:
        """Move on what is under way."""
        return self.batch.step(self._slots, *self._texts).latents


def _theirs(networks: _Networks) -> Callable[[Tensor], object]:
    """One upstream pipeline, without what it needs CUDA for: the timing of each frame."""
    texts = networks.text[None], networks.negative[None]
    pipe = SimpleNamespace(
        device=torch.device("cpu"),
        vae_scale_factor=8,
        scheduler=networks.scheduler,
        text_encoder=None,
        unet=networks.unet,
        vae=networks.vae,
        encode_prompt=lambda **_: texts,
    )
    upstream = streamdiffusion().StreamDiffusion(pipe, list(STAGES), DTYPE, SIZE, SIZE, cfg_type="self")
    upstream.prepare("", guidance_scale=SCALE)

    @torch.inference_mode()
    def tick(picture: Tensor) -> object:
        return upstream.decode_image(upstream.predict_x0_batch(upstream.encode_image(picture)))

    return tick


def _times(ticks: Sequence[Tick], rounds: int) -> list[float]:
    """Median seconds of each, in turn, once warm."""
    times: list[list[float]] = [[] for _ in ticks]
    for number in range(rounds + 2):
        for tick, taken in zip(ticks, times, strict=True):
            started = time.perf_counter()
            tick()
            if number >= 2:
                taken.append(time.perf_counter() - started)
    return [median(taken) for taken in times]


if __name__ == "__main__":
    main()
