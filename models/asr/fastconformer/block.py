"""One Conformer block (Gulati et al. 2020), with causal convolution and layer norm in the convolution module."""

from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.attention import RelativeAttention
from models.asr.fastconformer.config import EncoderConfig


class FeedForward(nn.Module):
    """Two linear layers with a SiLU between."""

    def __init__(self, width: int, inner: int, bias: bool, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, inner, bias)
        self.linear2 = nn.Linear(inner, width, bias)
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., width]` to `[..., width]`."""
        inner = functional.dropout(functional.silu(self.linear1(hidden)), self.dropout, self.training)
        output: Tensor = self.linear2(inner)
        return output


class Convolution(nn.Module):
    """Gated pointwise, causal depthwise and pointwise convolutions over time.

    `batch_norm` is a layer norm; checkpoints call it so. Pointwise weights are `[out, in, 1]`.
    """

    def __init__(self, width: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=bias)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, groups=width, bias=bias)
        self.batch_norm = nn.LayerNorm(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=bias)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """`hidden` `[B, T, width]`, `valid` bool `[B, T]`; invalid frames are silent for later ones."""
        gated = functional.glu(_pointwise(self.pointwise_conv1, hidden), -1) * valid[..., None]
        kernel = self.depthwise_conv.kernel_size[0]
        mixed = self.depthwise_conv(functional.pad(gated.transpose(1, 2), (kernel - 1, 0))).transpose(1, 2)
        return _pointwise(self.pointwise_conv2, functional.silu(self.batch_norm(mixed)))


def _pointwise(convolution: nn.Conv1d, hidden: Tensor) -> Tensor:
    return functional.linear(hidden, convolution.weight[..., 0], convolution.bias)


class Block(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each added to its input; then a norm."""

    def __init__(self, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        width = config.width
        self.dropout = dropout
        self.norm_feed_forward1 = nn.LayerNorm(width)
        self.feed_forward1 = FeedForward(width, config.feedforward, config.bias, dropout)
        self.norm_self_att = nn.LayerNorm(width)
        self.self_attn = RelativeAttention(width, config.heads, config.bias)
        self.norm_conv = nn.LayerNorm(width)
        self.conv = Convolution(width, config.kernel, config.convolution_bias)
        self.norm_feed_forward2 = nn.LayerNorm(width)
        self.feed_forward2 = FeedForward(width, config.feedforward, config.bias, dropout)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, positions: Tensor, visible: Tensor, valid: Tensor) -> Tensor:
        """`hidden` `[B, T, width]`; `positions` and `visible` as `RelativeAttention` takes them; `valid` `[B, T]`."""
        hidden = hidden + 0.5 * self._drop(self.feed_forward1(self.norm_feed_forward1(hidden)))
        hidden = hidden + self._drop(self.self_attn(self.norm_self_att(hidden), positions, visible))
        hidden = hidden + self._drop(self.conv(self.norm_conv(hidden), valid))
        hidden = hidden + 0.5 * self._drop(self.feed_forward2(self.norm_feed_forward2(hidden)))
        output: Tensor = self.norm_out(hidden)
        return output

    def _drop(self, hidden: Tensor) -> Tensor:
        return functional.dropout(hidden, self.dropout, self.training)
