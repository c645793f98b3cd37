"""The services that ship: which models serve together, and on which lanes."""

from pathlib import Path

import torch

from models.asr.whisper import Whisper
from models.catalog import ensure
from models.tts.kokoro import Kokoro
from models.vad.silero import SileroVad
from models.vad.smart_turn import SmartTurn
from workers.service import Service
from workers.settings import WorkerSettings


def listen(settings: WorkerSettings) -> Service:
    """Voice activity, end of turn and transcripts of one audio stream (16 kHz mono PCM)."""

    torch.set_num_threads(settings.threads)
    slots = settings.slots
    vad = SileroVad(_checkpoint(settings.vad_model, settings), slots)
    turn = SmartTurn(_checkpoint(settings.turn_model, settings), slots)
    asr = Whisper(_checkpoint(settings.asr_model, settings), slots, threads=settings.threads)
    return Service("listen", lanes=[[vad, turn], [asr]], device="cpu")


def speak(settings: WorkerSettings) -> Service:
    """Speech for text that arrives as a stream (24 kHz mono PCM)."""
    (voices,) = _checkpoint(settings.tts_voices, settings).glob("*.safetensors")
    tts = Kokoro(_checkpoint(settings.tts_model, settings), voices, settings.slots, settings.threads)
    return Service("speak", lanes=[[tts]], device="cpu")


def _checkpoint(name: str, settings: WorkerSettings) -> Path:
    return ensure(name, settings.cache_dir, settings.catalog)
