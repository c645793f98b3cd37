"""A network with random weights that says something else at every sound."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.asr.fastconformer.checkpoint import save
from models.asr.fastconformer.config import Config, EncoderConfig, RnntConfig
from models.asr.fastconformer.frontend import Frontend
from models.asr.fastconformer.network import FastConformer
from tests.models.asr.fastconformer import small

_SEED = 2
_HEADS = ("ctc_decoder", "decoder", "joint")
_BLANKS = 0.6
"""Share of frames at which nothing is said, at least at first."""


@torch.no_grad()
def talkative(pcm: bytes) -> FastConformer:
    """Made for the sound of 16 kHz audio: what it hears varies, and heads exaggerate it."""
    torch.manual_seed(_SEED)
    encoder = EncoderConfig(layers=2, width=small.WIDTH, heads=4, feedforward=64, subsampling_channels=8)
    transducer = RnntConfig(prediction_width=24, joint_width=40, max_symbols=3)
    network = FastConformer(Config(small.VOCABULARY, encoder, rnnt=transducer)).eval().requires_grad_(False)
    mels, lengths = mels_of(network, pcm)
    subsampling = network.encoder.pre_encode
    hidden = subsampling(mels, lengths)[0][0]
    subsampling.out.weight /= hidden.std(0)[:, None]
    subsampling.out.bias.sub_(hidden.mean(0)).div_(hidden.std(0))
    for name, parameter in network.named_parameters():
        if name.startswith(_HEADS) and parameter.dim() > 1:
            parameter.mul_(4)
    encoded = network(mels, lengths, 1)[0][0]
    assert network.ctc_decoder is not None
    assert network.decoder is not None
    assert network.joint is not None
    predicted, _ = network.decoder(torch.tensor([[network.config.blank]]))
    state = network.state_dict()
    state["joint.joint_net.2.bias"][-1] += _lead(network.joint(encoded, predicted[0]))
    state["ctc_decoder.decoder_layers.0.bias"][-1] += _lead(network.ctc_decoder(encoded))
    return network


def _lead(logits: Tensor) -> Tensor:
    return (logits[:, :-1].amax(-1) - logits[:, -1]).quantile(_BLANKS)


def mels_of(network: FastConformer, pcm: bytes) -> tuple[Tensor, Tensor]:
    """Mels `[1, frames, mel_bins]` of int16 audio, and how many frames they are."""
    audio = torch.from_numpy(np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768)[None]
    mels: tuple[Tensor, Tensor] = Frontend(network.config.frontend)(audio, torch.tensor([audio.shape[1]]))
    return mels


def offline(network: FastConformer, pcm: bytes, lookahead_ms: int) -> str:
    """The text of a whole clip, heard at once and decoded token by token."""
    encoded, _ = network(*mels_of(network, pcm), lookahead_ms // 80)
    return small.vocabulary().decode([token.id for token in small.rnnt_reference(network, encoded[0])])


def checkpoint(network: FastConformer, directory: Path) -> Path:
    """Write the network as a checkpoint."""
    save(directory, network, small.vocabulary(), torch.float32)
    return directory


def catalogue(path: Path, **directories: Path) -> Path:
    """Write a catalogue of checkpoints, by name, in directories."""
    entries = []
    for name, directory in directories.items():
        entries.append(f'[checkpoints.{name}]\nsource = "path"\npath = "{directory}"\n')
        entries.append('description = "random weights"\nlicence = "none"\norigin = "a test"\n')
        for file in sorted(file for file in directory.rglob("*") if file.is_file()):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            entries.append(f'files."{file.relative_to(directory)}" = {{ sha256 = "{digest}" }}\n')
    path.write_text("".join(entries))
    return path
