"""The whole network in its offline form, for training and as the reference of the streaming form.

Parameters have the names of NeMo's checkpoints.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.config import Config
from models.asr.fastconformer.encoder import Encoder
from models.asr.fastconformer.prompt import beside_languages, prompt_kernel
from models.asr.fastconformer.rnnt import Joint, Prediction


class _CtcHead(nn.Module):
    """Weights `[vocabulary + 1, width, 1]`, as checkpoints keep them."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.decoder_layers = nn.Sequential(nn.Conv1d(width, tokens, 1))

    def forward(self, encoded: Tensor) -> Tensor:
        layer = self.decoder_layers[0]
        assert isinstance(layer, nn.Conv1d)
        return functional.linear(encoded, layer.weight[..., 0], layer.bias)


class FastConformer(nn.Module):
    """Encoder with a CTC head, an RNNT head, or both; what the configuration lacks is None."""

    def __init__(self, config: Config, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        width, tokens = config.encoder.width, config.vocabulary + 1
        self.encoder = Encoder(config.encoder, config.frontend.mel_bins, dropout)
        self.prompt_kernel = prompt_kernel(config.prompt, width) if config.prompt else None
        self.ctc_decoder = _CtcHead(width, tokens) if config.ctc else None
        self.decoder = Prediction(config.rnnt, config.vocabulary) if config.rnnt else None
        self.joint = Joint(config.rnnt, width, config.vocabulary) if config.rnnt else None

    def forward(
        self, mels: Tensor, lengths: Tensor, lookahead: int, languages: Sequence[str | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mels `[B, frames, mel_bins]` and valid frames `[B]` to `[B, T, width]` and valid encoder frames `[B]`.

        A network that is told the language takes that of each row, unknown by default.
        """
        encoded, lengths = self.encoder(mels, lengths, lookahead)
        if self.config.prompt is not None and self.prompt_kernel is not None:
            encoded = beside_languages(encoded, self.config.prompt, languages or [None] * len(mels))
            encoded = self.prompt_kernel(encoded)
        return encoded, lengths
