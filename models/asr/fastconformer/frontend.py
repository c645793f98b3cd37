"""Log-mel features, without normalisation, as NeMo's FastConformers expect them."""

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.config import FrontendConfig
from models.audio import SAMPLE_RATE_HZ

LOG_GUARD = 2.0**-24


class Frontend(nn.Module):
    """Frame i is centred on sample `hop * i`; what lies outside the audio is silence."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        window = torch.hann_window(config.window, periodic=False)
        margin = config.fft - config.window
        self.register_buffer("window", functional.pad(window, (margin // 2, margin - margin // 2)), persistent=False)
        filters = torchaudio.functional.melscale_fbanks(
            config.fft // 2 + 1,
            0.0,
            SAMPLE_RATE_HZ / 2,
            config.mel_bins,
            SAMPLE_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Float audio `[B, samples]` in [-1, 1] and its valid samples `[B]` to mels `[B, frames, mel_bins]` and valid
        frames `[B]` (`samples // hop`), zero after the valid ones.
        """
        config = self.config
        valid = torch.arange(audio.shape[1], device=audio.device) < lengths[:, None]
        emphasised = self.emphasise(audio, torch.zeros_like(audio[:, :1])) * valid
        padded = functional.pad(emphasised, (config.fft // 2, config.fft // 2))
        mels = self.mels(padded.unfold(1, config.fft, config.hop)[:, : audio.shape[1] // config.hop])
        frames = lengths // config.hop
        return mels * (torch.arange(mels.shape[1], device=mels.device) < frames[:, None])[..., None], frames

    def emphasise(self, audio: Tensor, previous: Tensor) -> Tensor:
        """Pre-emphasis of `[B, samples]`; `previous` `[B, 1]` is the sample before."""
        return audio - self.config.preemphasis * torch.cat([previous, audio[:, :-1]], 1)

    def mels(self, frames: Tensor) -> Tensor:
        """Emphasised audio cut into frames `[..., fft]` to log-mels `[..., mel_bins]`."""
        spectrum = torch.fft.rfft(frames * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(power @ self.filters + LOG_GUARD)
