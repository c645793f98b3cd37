"""NeMo's archives: a tar, possibly gzipped, of `model_config.yaml`, `model_weights.ckpt` and a SentencePiece model.

Nothing is written to disk, and weights are unpickled as tensors only.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from models.asr.fastconformer import nemo_config
from models.asr.fastconformer.config import Config
from models.asr.fastconformer.nemo_config import NemoConfig
from models.asr.fastconformer.vocabulary import SentencePieceVocabulary
from models.asr.fastconformer.weights import CheckpointError

WEIGHTS = "model_weights.ckpt"
ARTEFACT = "nemo:"
MAX_WEIGHTS_BYTES = 16 << 30
MAX_MEMBER_BYTES = 64 << 20
_DERIVED = ("preprocessor.", "encoder.pos_enc.")
"""Tensors that follow from the configuration."""
_LAST_LAYER = "joint.joint_net.1.", "joint.joint_net.2."
"""Without dropout, the joint network's last layer has another number."""
_CTC_HEAD = "decoder.decoder_layers.", "ctc_decoder.decoder_layers."
"""The only head of a network is called decoder."""


def read(path: Path) -> tuple[Config, dict[str, Tensor], SentencePieceVocabulary]:
    """The configuration, tensors and vocabulary of the archive at `path`. Raises CheckpointError, VocabularyError."""
    try:
        with tarfile.open(path) as archive:
            members = _members(archive)
            model = nemo_config.parse(_contents(archive, members, nemo_config.FILE))
            artefact = model.tokenizer.model_path.removeprefix(ARTEFACT)
            vocabulary = SentencePieceVocabulary(_contents(archive, members, artefact))
            weights = _weights(archive, members)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise CheckpointError(f"{path.name} is not a NeMo archive: {error}") from error
    return nemo_config.convert(model, len(vocabulary)), _rename(weights, model), vocabulary


def _members(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Files by name."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise CheckpointError(f"the archive has an unsafe member {member.name!r}")
        if member.size > (MAX_WEIGHTS_BYTES if name.name == WEIGHTS else MAX_MEMBER_BYTES):
            raise CheckpointError(f"{member.name} has {member.size} bytes, more than are read")
        members[str(name)] = member
    return members


def _contents(archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> bytes:
    file = archive.extractfile(members[name]) if name in members else None
    if file is None:
        raise CheckpointError(f"the archive has no {name}")
    return file.read()


def _weights(archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> dict[str, Tensor]:
    file = archive.extractfile(members[WEIGHTS]) if WEIGHTS in members else None
    if file is None:
        raise CheckpointError(f"the archive has no {WEIGHTS}")
    if isinstance(archive.fileobj, gzip.GzipFile):  # torch seeks, which would unpack the archive again each time
        file = io.BytesIO(file.read())
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise any
        raise CheckpointError(f"{WEIGHTS} holds more than tensors, or is damaged: {error}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{WEIGHTS} must be a dictionary of tensors")
    return weights


def _rename(weights: Mapping[str, Tensor], model: NemoConfig) -> dict[str, Tensor]:
    """Under the names of hybrid networks with dropout."""
    old, new = _LAST_LAYER if model.joint else _CTC_HEAD
    return {
        new + name.removeprefix(old) if name.startswith(old) else name: value
        for name, value in weights.items()
        if not name.startswith(_DERIVED)
    }
