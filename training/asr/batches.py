"""Utterances of manifests as batches of disturbed features."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from models.asr.fastconformer.frontend import Frontend
from models.asr.fastconformer.vocabulary import Vocabulary
from models.audio import SAMPLE_RATE_HZ, FloatArray
from training.asr.disturb import Disturber
from training.asr.manifest import Utterance, read_manifest
from training.asr.recipe import UNDISTURBED, Disturbance, Recipe
from training.asr.splice import splice

_POOL_BATCHES = 40
_MAX_PAUSE_S = 0.6
_FADE = 80
"""Samples, 5 ms."""
_BABBLE = 3
_FRAMES_UNIT = 64
"""Batches are as many frames long as so many of these, since each new shape costs the CPU's matrix kernels anew."""

Spans = list[tuple[float, float]]
"""From where to where each token is said."""


class Batch(NamedTuple):
    """`mels` `[B, frames, bins]`, `frames` `[B]`, `tokens` `[B, U]` and `tokens_each` `[B]`; zero where nothing is.
    `spans` `[B, U, 2]`: the frame at which each token begins, and ends, as far as that is known.
    """

    mels: Tensor
    frames: Tensor
    tokens: Tensor
    tokens_each: Tensor
    spans: Tensor


def collate(mels: Sequence[Tensor], tokens: Sequence[Sequence[int]], spans: Sequence[Spans] | None = None) -> Batch:
    """Log-mels `[frames, bins]` of each utterance, its tokens and their spans as shares of it, padded."""
    frames = torch.tensor([len(rows) for rows in mels])
    beyond = -int(frames.max()) % _FRAMES_UNIT
    shares = spans or [[(0.0, 0.0)] * len(row) for row in tokens]
    return Batch(
        functional.pad(torch.nn.utils.rnn.pad_sequence(list(mels), batch_first=True), (0, 0, 0, beyond)),
        frames,
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in tokens], batch_first=True),
        torch.tensor([len(row) for row in tokens]),
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row).view(-1, 2) for row in shares], batch_first=True)
        * frames[:, None, None],
    )


class Batches(IterableDataset[Batch]):
    """Endless batches of about `batch_s` seconds. Manifests are read anew every epoch, so they may grow meanwhile."""

    def __init__(
        self, manifests: Sequence[Path], recipe: Recipe, vocabulary: Vocabulary, seed: int, step: int = 0
    ) -> None:
        """The first batch is that of `step`."""
        self._manifests = manifests
        self._recipe = recipe
        self._vocabulary = vocabulary
        self._seed = seed
        self._step = step

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        rng = np.random.default_rng((self._seed, self._step))
        frontend = Frontend(self._recipe.frontend)
        while True:
            utterances = [u for manifest in self._manifests for u in read_manifest(manifest)]
            first, how = self._recipe.optimisation, self._recipe.disturbance
            if self._step < first.flat_start:
                utterances = [u for u in utterances if u.duration <= first.flat_start_s]
                utterances = [u for u in utterances if u.alignment] or utterances
                how = UNDISTURBED
            disturber = Disturber(how, rng)
            for batch in self._epoch(utterances, how, rng):
                yield self._make(batch, utterances, disturber, frontend, rng)
                self._step += 1
                if self._step == first.flat_start:
                    break

    def _epoch(
        self, utterances: list[Utterance], how: Disturbance, rng: np.random.Generator
    ) -> Iterator[list[list[Utterance]]]:
        """Each utterance once, joined to others or spliced, in batches of about equally long groups."""
        spliced = [bool(u.alignment) and rng.random() < how.splice for u in utterances]
        order = rng.permutation(len(utterances))
        groups = _joined([utterances[i] for i in order if not spliced[i]], how, rng)
        groups += splice([utterances[i] for i in order if spliced[i]], rng)
        rng.shuffle(groups)
        limit = self._recipe.optimisation.batch_s
        size = max(1, round(_POOL_BATCHES * limit / (sum(u.duration for u in utterances) / len(groups))))
        for start in range(0, len(groups), size):
            pool = sorted(groups[start : start + size], key=_seconds)
            batches: list[list[list[Utterance]]] = [[]]
            for group in pool:
                if batches[-1] and (len(batches[-1]) + 1) * _seconds(group) > limit:
                    batches.append([])
                batches[-1].append(group)
            yield from (batches[i] for i in rng.permutation(len(batches)))

    def _make(
        self,
        groups: list[list[Utterance]],
        utterances: list[Utterance],
        disturber: Disturber,
        frontend: Frontend,
        rng: np.random.Generator,
    ) -> Batch:
        """Read, disturb and compute features."""
        others = [utterances[i].audio() for i in rng.integers(len(utterances), size=_BABBLE)]
        mels, tokens, spans = [], [], []
        for group in groups:
            pauses = rng.exponential(_MAX_PAUSE_S / 3, len(group) + 1).clip(0, _MAX_PAUSE_S)
            pauses[1:-1] *= [follower.offset == 0 for follower in group[1:]]
            pieces = [np.zeros(round(pauses[0] * SAMPLE_RATE_HZ), np.float32)]
            silent = disturber.silences()
            said: list[tuple[int, float, float]] = []
            for utterance, pause in zip(group, pauses[1:], strict=True):
                audio = _faded(utterance.audio())
                begin_s = sum(map(len, pieces)) / SAMPLE_RATE_HZ
                said += [(token, begin_s + start, begin_s + end) for token, start, end in self._place(utterance)]
                pieces += [audio * (not silent), np.zeros(round(pause * SAMPLE_RATE_HZ), np.float32)]
            samples = np.concatenate(pieces)
            audio = disturber.silence(len(samples), others) if silent else disturber.audio(samples, others)
            features, _ = frontend(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
            mels.append(disturber.mels(features[0]))
            tokens.append([] if silent else [token for token, _, _ in said])
            seconds = len(samples) / SAMPLE_RATE_HZ
            spans.append([] if silent else [(start / seconds, end / seconds) for _, start, end in said])
        return collate(mels, tokens, spans)

    def _place(self, utterance: Utterance) -> list[tuple[int, float, float]]:
        """Tokens and from which to which second they are said, if all letters of a word take equally long; all letters
        of an utterance without an alignment.
        """
        placed = []
        for text, start, end in utterance.alignment or [(utterance.text, 0.0, utterance.duration)]:
            tokens = self._vocabulary.encode(text)
            letters = np.cumsum([0, *(len(self._vocabulary.decode([token])) for token in tokens)])
            edges = start + (end - start) * letters / letters[-1]
            placed += list(zip(tokens, edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        return placed


def _joined(utterances: list[Utterance], how: Disturbance, rng: np.random.Generator) -> list[list[Utterance]]:
    groups: list[list[Utterance]] = []
    for utterance in utterances:
        if utterance.duration > how.max_joined_s:
            continue
        if groups and rng.random() < how.join and _seconds(groups[-1]) + utterance.duration < how.max_joined_s:
            groups[-1].append(utterance)
        else:
            groups.append([utterance])
    return groups


def _faded(audio: FloatArray) -> FloatArray:
    """Without a click where it is cut."""
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)[: len(audio)]
    audio[: len(ramp)] *= ramp
    audio[len(audio) - len(ramp) :] *= ramp[::-1]
    return audio


def _seconds(group: Sequence[Utterance]) -> float:
    return sum(utterance.duration for utterance in group)
