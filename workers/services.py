"""The services that ship: which models serve together, and on which lanes.

Each loads its networks' libraries itself: a worker holds in memory only what it serves.
"""

from pathlib import Path

from models.catalog import ensure
from workers.service import Service
from workers.settings import WorkerSettings


def listen(settings: WorkerSettings) -> Service:
    """Voice activity, end of turn and transcripts of one audio stream (16 kHz mono PCM)."""
    import torch

    from models.asr.whisper.model import Whisper
    from models.vad.silero import SileroVad
    from models.vad.smart_turn import SmartTurn

    torch.set_num_threads(settings.threads)
    slots = settings.slots
    vad = SileroVad(_checkpoint(settings, settings.vad_model), slots)
    turn = SmartTurn(_checkpoint(settings, settings.turn_model), slots)
    asr = Whisper(_checkpoint(settings, settings.asr_model), slots, threads=settings.threads)
    return Service("listen", lanes=[[vad, turn], [asr]], device="cpu")


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
    import torch

    from models.tts.kokoro import Kokoro

    torch.set_num_threads(settings.threads)
    (voices,) = _checkpoint(settings, settings.tts_voices).glob("*.safetensors")
    tts = Kokoro(_checkpoint(settings, settings.tts_model), voices, settings.slots, settings.threads)
    return Service("speak", lanes=[[tts]], device="cpu")


def _checkpoint(settings: WorkerSettings, name: str) -> Path:
    return ensure(name, settings.cache_dir, settings.catalog)
