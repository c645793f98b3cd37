"""The streaming speech encoder against transformers' own cached step: the same sizes, dtype and threads, in turn.

Weights are random, since they do not change the cost, but for the checkpoint that ships. A chunk is 160 ms of audio
(look-ahead 80 ms).
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import safetensors.torch
import torch
import transformers
from torch import Tensor
from transformers import DynamicCache, NemotronAsrStreamingEncoder, NemotronAsrStreamingEncoderConfig
from transformers.models.nemotron_asr_streaming.modeling_nemotron_asr_streaming import (
    NemotronAsrStreamingEncoderCausalConvPaddingCache,
)

from app.settings import Settings
from benchmarks.report import arguments, configuration, percentile, report
from models.asr.fastconformer.checkpoint import load
from models.asr.fastconformer.config import FRAME_S, Config, EncoderConfig
from models.asr.fastconformer.ctc import CtcDecoder
from models.asr.fastconformer.decoder import Decoder
from models.asr.fastconformer.decoders import make_decoder
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.streaming import StreamingEncoder, chunk_mels
from models.asr.fastconformer.streaming_frontend import StreamingFrontend
from models.audio import AudioRing
from models.catalog import ensure
from models.linear import fastest_dtype, pack

LARGE = Config(1024, EncoderConfig(layers=17, width=512, heads=8, feedforward=2048))
"""`stt_en_fastconformer_hybrid_large_streaming_multi`: 109M parameters."""
SMALL = "fastconformer-small"
DTYPE = fastest_dtype()
THREADS = 2
BATCH = 32
CAPACITY = 192
LOOKAHEAD = 1
FIRST, MELS = chunk_mels(LOOKAHEAD, first=True), chunk_mels(LOOKAHEAD, first=False)
CHUNK_MS = (LOOKAHEAD + 1) * FRAME_S * 1e3
FILL_CHUNKS = 40
"""More than the left context, from where on a step of the peer costs what it always will."""
WARM_CHUNKS = 3
"""A step of ours costs the same from a stream's second chunk on."""

Step = Callable[[], object]


def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    rounds = 3 if quick else 12
    torch.set_num_threads(THREADS)
    ours, theirs = StreamingEncoder(FastConformer(LARGE), CAPACITY, DTYPE), _transformers()
    configuration(
        parameters="109M",
        dtype=str(DTYPE),
        threads=THREADS,
        chunk_ms=round(CHUNK_MS),
        rounds=rounds,
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    for batch in (1, BATCH):
        _compare(ours, theirs, batch, rounds)
    _growth(ours, rounds)
    report("asr.state", ours.bytes_per_slot / 1e6, "MB", of="one stream, whatever its length")
    large = FastConformer(LARGE)
    whole = _Recogniser(ours, large, CtcDecoder(large, CAPACITY, DTYPE))
    _frontend(whole, rounds)
    _realtime(whole, quick)
    torch.set_num_threads(1)
    checkpoint = load(ensure(SMALL, Settings().cache_dir))
    network = checkpoint.network
    small = _Recogniser(StreamingEncoder(network, 1, DTYPE), network, make_decoder(checkpoint, 1, DTYPE))
    small.begin(1)
    times = _times([small.step], 10 * rounds)[0]
    details = {"checkpoint": SMALL, "layers": network.config.encoder.layers, "width": network.config.encoder.width}
    report("asr.small_rtf", median(times) / CHUNK_MS, "x", threads=1, step_ms=round(median(times), 2), **details)


def _times(steps: Sequence[Step], repeats: int) -> list[list[float]]:
    """Milliseconds of each step, in turn."""
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for step, list_ in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            list_.append(1e3 * (time.perf_counter() - started))
    return times


def _compare(ours: StreamingEncoder, theirs: Any, batch: int, rounds: int) -> None:
    repeats = 5 * rounds if batch == 1 else 2 * rounds
    steps = _our_step(ours, batch), _their_step(theirs, batch), _linears(batch)
    our_ms, their_ms, linear_ms = _times(steps, repeats)
    report(
        f"asr.step_b{batch}",
        median(theirs / ours for ours, theirs in zip(our_ms, their_ms, strict=True)),
        "x",
        peer="transformers NemotronAsrStreamingEncoder",
        step_ms=round(median(our_ms), 2),
        peer_step_ms=round(median(their_ms), 2),
        linears_alone_ms=round(median(linear_ms), 2),
    )
    report(f"asr.above_linears_b{batch}", median(our_ms) / median(linear_ms), "x")


def _mels(batch: int, frames: int) -> Tensor:
    return 3 * torch.randn(batch, frames, LARGE.frontend.mel_bins) - 6


def _our_step(encoder: StreamingEncoder, batch: int, chunks: int = WARM_CHUNKS) -> Step:
    """A step of slots 0 to `batch` after so many chunks."""
    slots = list(range(batch))
    for slot in slots:
        encoder.reset(slot)
    encoder.step(slots, _mels(batch, FIRST), LOOKAHEAD)
    mels = _mels(batch, MELS)
    for _ in range(chunks):
        encoder.step(slots, mels, LOOKAHEAD)
    return lambda: encoder.step(slots, mels, LOOKAHEAD)


def _transformers() -> Any:
    encoder = LARGE.encoder
    config = NemotronAsrStreamingEncoderConfig(
        hidden_size=encoder.width,
        num_hidden_layers=encoder.layers,
        num_attention_heads=encoder.heads,
        intermediate_size=encoder.feedforward,
        sliding_window=encoder.left_context + 1,
    )
    model: Any = NemotronAsrStreamingEncoder(config)
    return model.to(DTYPE).eval()


def _their_step(encoder: Any, batch: int) -> Step:
    cache = DynamicCache(config=encoder.config)
    padding = NemotronAsrStreamingEncoderCausalConvPaddingCache()  # type: ignore[no-untyped-call]
    mels = _mels(batch, MELS).to(DTYPE)

    @torch.inference_mode()
    def step(chunk: Tensor = mels) -> None:
        encoder(
            chunk,
            cache=cache,
            padding_cache=padding,
            num_lookahead_tokens=LOOKAHEAD,
            use_cache=True,
            output_attention_mask=False,
        )

    step(mels[:, :FIRST])
    for _ in range(FILL_CHUNKS):
        step()
    return step


def _linears(batch: int) -> Step:
    """The least that any implementation does: the matrix products with weights, one after the other."""
    encoder = LARGE.encoder
    width, wide = encoder.width, encoder.feedforward
    sizes = [(width, wide), (wide, width), (width, 3 * width), (width, width)]
    sizes += [(width, 2 * width), (width, width), (width, wide), (wide, width)]
    layers = [pack(torch.randn(out, into, dtype=DTYPE)) for _ in range(encoder.layers) for into, out in sizes]
    rows = {into: torch.randn(batch * (LOOKAHEAD + 1), into, dtype=DTYPE) for into in (width, wide)}
    inputs = [rows[into] for into, _ in sizes] * encoder.layers

    @torch.inference_mode()
    def step() -> None:
        for layer, into in zip(layers, inputs, strict=True):
            layer(into)

    step()
    return step


def _growth(encoder: StreamingEncoder, rounds: int) -> None:
    """A stream at its chunk 10,000 against one at its chunk 100; the first is set forward."""
    _our_step(encoder, 1, FILL_CHUNKS)
    tensors = safetensors.torch.load(encoder.snapshot(0))
    steps: list[Step] = []
    for slot, chunk in enumerate((100, 10_000)):
        tensors["position"][0] = chunk * (LOOKAHEAD + 1)
        encoder.restore(slot, safetensors.torch.save(tensors))
        mels = _mels(1, MELS)
        steps.append(lambda slot=slot, mels=mels: encoder.step([slot], mels, LOOKAHEAD))  # type: ignore[misc]
    early, late = _times(steps, 10 * rounds)
    report("asr.growth", median(late) / median(early), "x", of="the time of chunk 10,000 to that of chunk 100")


class _Recogniser:
    """Audio to tokens: front end, encoder and decoding of one chunk of every stream."""

    def __init__(self, encoder: StreamingEncoder, network: FastConformer, decoder: Decoder) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._frontend = StreamingFrontend(network.config.frontend)
        samples = 16_000
        self._ring = AudioRing(CAPACITY, samples)
        noise = np.random.default_rng(0).integers(-9_000, 9_000, samples).astype("<i2").tobytes()
        for slot in range(CAPACITY):
            self._ring.append(slot, 0, noise)

    def begin(self, streams: int) -> None:
        """The steps that follow are of so many streams."""
        self._slots = list(range(streams))
        _our_step(self._encoder, streams)

    def mels(self) -> Tensor:
        return self._frontend.step(self._ring, self._slots, [20] * len(self._slots), MELS)

    def step(self) -> None:
        encoded = self._encoder.step(self._slots, self.mels(), LOOKAHEAD)
        self._decoder.step(self._slots, encoded)


def _frontend(whole: _Recogniser, rounds: int) -> None:
    whole.begin(BATCH)
    times = _times([whole.mels], 10 * rounds)[0]
    report("asr.frontend", median(times) / BATCH, "ms", of=f"one stream's chunk, in steps of {BATCH}")


def _realtime(whole: _Recogniser, quick: bool) -> None:
    """The most streams of which a step, from audio to tokens, stays within a chunk's time."""
    fits, fails, p95_ms = 0, CAPACITY + 8, 0.0
    while fails - fits > 8:
        streams = (fits + fails) // 16 * 8
        whole.begin(streams)
        times = _times([whole.step], 8 if quick else 40)[0]
        if percentile(times, 95) <= CHUNK_MS:
            fits, p95_ms = streams, percentile(times, 95)
        else:
            fails = streams
    report("asr.realtime_streams", fits, "streams", threads=THREADS, step_p95_ms=round(p95_ms, 1), chunk_ms=CHUNK_MS)


if __name__ == "__main__":
    main()
