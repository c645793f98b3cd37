"""The services that ship: which models serve together, and on which lanes.

Each loads its networks' libraries itself: a worker holds in memory only what it serves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.asr.checkpoints import is_whisper
from models.base import StreamModel
from models.catalog import ensure
from workers.service import Service
from workers.settings import WorkerSettings

if TYPE_CHECKING:
    from models.asr.fastconformer.model import FastConformerStream
    from models.asr.whisper.model import Whisper


def listen(settings: WorkerSettings) -> Service:
    """Voice activity, end of turn and transcripts of one audio stream (16 kHz mono PCM)."""
    import torch

    from models.vad.silero import SileroVad
    from models.vad.smart_turn import SmartTurn

    torch.set_num_threads(settings.threads)
    slots = settings.slots
    vad = SileroVad(_checkpoint(settings, settings.vad_model), slots)
    turn = SmartTurn(_checkpoint(settings, settings.turn_model), slots)
    recognisers = [[recogniser] for recogniser in _recognisers(settings)]
    return Service("listen", lanes=[[vad, turn], *recognisers], device="cpu")


def _recognisers(settings: WorkerSettings) -> list[StreamModel]:
    """One that does everything, or one for the text that forms while someone speaks and one for the final text."""
    asr = _checkpoint(settings, settings.asr_model)
    if is_whisper(asr):
        return [_whisper(asr, settings)]
    if not settings.asr_final_model:
        return [_fastconformer(asr, settings)]
    final = _checkpoint(settings, settings.asr_final_model)
    partial = _fastconformer(asr, settings, finals=False)
    if is_whisper(final):
        return [partial, _whisper(final, settings, not_followed=frozenset({None, *partial.languages}))]
    return [partial, _fastconformer(final, settings, partials=False)]


def _whisper(directory: Path, settings: WorkerSettings, **options: Any) -> Whisper:
    from models.asr.whisper.model import Whisper

    return Whisper(directory, settings.slots, threads=settings.threads, **options)


def _fastconformer(directory: Path, settings: WorkerSettings, **options: Any) -> FastConformerStream:
    from models.asr.fastconformer.model import FastConformerStream
    from models.linear import fastest_dtype

    lookahead_ms, dtype = settings.asr_lookahead_ms, fastest_dtype()
    return FastConformerStream(directory, settings.slots, lookahead_ms=lookahead_ms, dtype=dtype, **options)


def think(settings: WorkerSettings) -> Service:
    """Replies to conversations, by a model of our own or an OpenAI-compatible endpoint."""
    if settings.llm_url is not None:
        return _remote(settings)
    import torch

    from models.lm.generation import Sampling
    from models.lm.model import LanguageModel

    torch.set_num_threads(settings.threads)
    sampling = Sampling(settings.lm_temperature, settings.lm_top_p, frequency_penalty=settings.lm_frequency_penalty)
    directory = _checkpoint(settings, settings.lm_model)
    model = LanguageModel(directory, settings.slots, settings.lm_context, sampling=sampling)
    return Service("think", lanes=[[model]], device="cpu")


def _remote(settings: WorkerSettings) -> Service:
    from models.lm.endpoint import EndpointModel
    from models.lm.endpoint_client import EndpointOptions

    assert settings.llm_url is not None
    assert settings.llm_model is not None
    options = EndpointOptions(
        url=settings.llm_url,
        model=settings.llm_model,
        api_key=settings.llm_api_key.get_secret_value() if settings.llm_api_key else None,
        first_token_timeout_s=settings.llm_first_token_timeout_s,
        token_timeout_s=settings.llm_token_timeout_s,
        retries=settings.llm_retries,
    )
    return Service("think", lanes=[[EndpointModel(options, settings.slots)]], device="remote")


def speak(settings: WorkerSettings) -> Service:
    """Speech for text that arrives as a stream (24 kHz mono PCM)."""
    # Clauses differ in length, and oneDNN keeps code for each length: 0.8 GB of it after eighteen lengths.
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "16")
    import torch

    from models.tts.kokoro import Kokoro

    torch.set_num_threads(settings.threads)
    (voices,) = _checkpoint(settings, settings.tts_voices).glob("*.safetensors")
    tts = Kokoro(_checkpoint(settings, settings.tts_model), voices, settings.slots, settings.threads)
    return Service("speak", lanes=[[tts]], device="cpu")


def restyle(settings: WorkerSettings) -> Service:
    """Pictures of live video, restyled by prompt."""
    import torch

    from models.diffusion.model import StreamDiffusion
    from models.linear import fastest_dtype

    torch.set_num_threads(settings.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = StreamDiffusion(
        _checkpoint(settings, settings.restyle_model),
        settings.slots,
        height=settings.restyle_height,
        width=settings.restyle_width,
        dtype=torch.float16 if device == "cuda" else fastest_dtype(),
        device=device,
        loras=[(_weights(settings, name), scale) for name, scale in settings.restyle_loras.items()],
    )
    return Service("restyle", lanes=[[model]], device=device)


def _weights(settings: WorkerSettings, name: str) -> Path:
    (file,) = _checkpoint(settings, name).glob("*.safetensors")
    return file


def _checkpoint(settings: WorkerSettings, name: str) -> Path:
    return ensure(name, settings.cache_dir, settings.catalog)
