"""The services that ship: which models serve together, and on which lanes."""

from pathlib import Path

import torch

from models.asr.whisper import Whisper
from models.catalog import ensure
from models.vad.silero import SileroVad
from models.vad.smart_turn import SmartTurn
from workers.service import Service
from workers.settings import WorkerSettings


def listen(settings: WorkerSettings) -> Service:
    """Voice activity, end of turn and transcripts of one audio stream (16 kHz mono PCM)."""

    def checkpoint(name: str) -> Path:
        return ensure(name, settings.cache_dir, settings.catalog)

    torch.set_num_threads(settings.threads)
    slots = settings.slots
    vad = SileroVad(checkpoint(settings.vad_model), slots)
    turn = SmartTurn(checkpoint(settings.turn_model), slots)
    asr = Whisper(checkpoint(settings.asr_model), slots, threads=settings.threads)
    return Service("listen", lanes=[[vad, turn], [asr]], device="cpu")
