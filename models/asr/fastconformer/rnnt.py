"""The transducer's prediction and joint networks (Graves 2012, "Sequence Transduction with Recurrent Neural Networks").

Attribute names are those of NeMo's checkpoints.
"""

from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.config import RnntConfig

LstmState = tuple[Tensor, Tensor]
"""Hidden and cell state, each `[layers, B, prediction_width]`."""


class _LSTM(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)


class Prediction(nn.Module):
    """What was said so far; the blank, whose embedding is zero, begins it."""

    def __init__(self, config: RnntConfig, vocabulary: int) -> None:
        super().__init__()
        width = config.prediction_width
        self.prediction = nn.ModuleDict(
            {
                "embed": nn.Embedding(vocabulary + 1, width, padding_idx=vocabulary),
                "dec_rnn": _LSTM(width, config.prediction_layers),
            }
        )

    @property
    def embed(self) -> nn.Embedding:
        """Token to vector."""
        embedding = self.prediction["embed"]
        assert isinstance(embedding, nn.Embedding)
        return embedding

    @property
    def lstm(self) -> nn.LSTM:
        """The recurrence."""
        recurrence = self.prediction["dec_rnn"]
        assert isinstance(recurrence, _LSTM)
        return recurrence.lstm

    def forward(self, tokens: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Tokens `[B, U]` to `[B, U, prediction_width]` and the state after them."""
        predicted, after = self.lstm(self.embed(tokens), state)
        return predicted, after


class Joint(nn.Module):
    """Logits of the next token from an encoder frame and a prediction."""

    def __init__(self, config: RnntConfig, encoder_width: int, vocabulary: int) -> None:
        super().__init__()
        self.enc = nn.Linear(encoder_width, config.joint_width)
        self.pred = nn.Linear(config.prediction_width, config.joint_width)
        self.joint_net = nn.Sequential(nn.ReLU(), nn.Identity(), nn.Linear(config.joint_width, vocabulary + 1))

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """`[..., encoder_width]` and `[..., prediction_width]`, broadcast, to logits `[..., vocabulary + 1]`."""
        return self.project(self.enc(encoded), self.pred(predicted))

    def project(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """As `forward`, from the two projections `[..., joint_width]`."""
        logits: Tensor = self.joint_net[-1](functional.relu(encoded + predicted))
        return logits
