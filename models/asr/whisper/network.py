"""Whisper behind CTranslate2: audio to encodings, encodings to hypotheses, hypotheses to token times."""

import json
import zlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from models.audio import SAMPLE_RATE_HZ, FloatArray
from models.mel import HOP_SAMPLES, log_mel

HEARD_SAMPLES = 15 * SAMPLE_RATE_HZ
MAX_PROMPT_TOKENS = 100
_ALIGNMENT_SAMPLES = 2 * HOP_SAMPLES
_TOKENS_PER_S = 16
_TOKENS_AT_LEAST = 8
_MAX_TOKENS = 224
_MAX_COMPRESSION_RATIO = 2.4


class Prompt(NamedTuple):
    """What the decoder starts from: `previous` tokens come before the audio, `forced` ones begin what it says.

    `samples` of the audio are not padding.
    """

    samples: int
    language: str
    previous: tuple[int, ...]
    forced: tuple[int, ...]


class Hypothesis(NamedTuple):
    """What was heard, with the forced tokens. `degenerate`: it did not end, or repeats itself."""

    tokens: tuple[int, ...]
    no_speech: float
    avg_logprob: float
    degenerate: bool


class TokenTimes(NamedTuple):
    """Where each token starts, then where the last one ends, in samples `[tokens + 1]`; `probabilities` `[tokens]`."""

    samples: list[int]
    probabilities: list[float]


class WhisperNetwork:
    """The network and its tokenizer. It hears 15 s; shorter audio is followed by silence. Rows are independent."""

    def __init__(self, directory: Path, threads: int) -> None:
        self._model = ctranslate2.models.Whisper(
            str(directory), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
        )
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        language_ids = json.loads((directory / "config.json").read_text())["lang_ids"]
        self._languages = {_code(str(self._tokenizer.id_to_token(token))): int(token) for token in language_ids}
        self._text_end = self._special("<|endoftext|>")
        self._previous = self._special("<|startofprev|>")
        self._start = self._special("<|startoftranscript|>")
        self._transcribe = self._special("<|transcribe|>")
        self._no_timestamps = self._special("<|notimestamps|>")

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639-1 codes of the languages it knows."""
        return frozenset(self._languages)

    def tokenize(self, prompt: str) -> tuple[int, ...]:
        """The last tokens of a text that comes before the audio, without control tokens."""
        tokens = self._tokenizer.encode(" " + prompt.strip(), add_special_tokens=False).ids
        return tuple(token for token in tokens if token < self._text_end)[-MAX_PROMPT_TOKENS:]

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text; bytes that are no whole character become U+FFFD."""
        return str(self._tokenizer.decode(tokens))

    def encode(self, audio: FloatArray) -> FloatArray:
        """Float32 audio `[B, 240000]` in [-1, 1) to encodings `[B, 750, width]`."""
        return np.asarray(self._model.encode(_view(log_mel(audio)), to_cpu=True))

    def detect(self, encoded: FloatArray) -> list[tuple[str, float]]:
        """The likeliest language of each row and its probability."""
        return [(_code(ranked[0][0]), ranked[0][1]) for ranked in self._model.detect_language(_view(encoded))]

    def generate(self, encoded: FloatArray, prompts: Sequence[Prompt], beam_size: int = 1) -> list[Hypothesis]:
        """A hypothesis for each row. CTranslate2 decodes rows together if equally many tokens come before them."""
        hypotheses: dict[int, Hypothesis] = {}
        for rows in _groups([len(prompt.previous) for prompt in prompts]):
            limits = [_token_limit(prompts[row].samples) for row in rows]
            starts = [self._start_tokens(prompts[row]) for row in rows]
            results = self._model.generate(
                _view(encoded[rows]),
                [[*start, *prompts[row].forced] for start, row in zip(starts, rows, strict=True)],
                beam_size=beam_size,
                max_length=max(limits) + max(*limits, len(starts[0])),
                return_scores=True,
                return_no_speech_prob=True,
            )
            for row, limit, result in zip(rows, limits, results, strict=True):
                hypotheses[row] = self._hypothesis(result, limit)
        return [hypotheses[row] for row in range(len(prompts))]

    def align(
        self, encoded: FloatArray, prompts: Sequence[Prompt], hypotheses: Sequence[Hypothesis]
    ) -> list[TokenTimes]:
        """When each token of each row was said. CTranslate2 aligns rows together if they are of one language."""
        times = {row: TokenTimes([prompt.samples], []) for row, prompt in enumerate(prompts)}
        spoken = [row for row, hypothesis in enumerate(hypotheses) if hypothesis.tokens]
        for group in _groups([prompts[row].language for row in spoken]):
            rows = [spoken[member] for member in group]
            start = [self._start, self._languages[prompts[rows[0]].language], self._transcribe]
            tokens = [list(hypotheses[row].tokens) for row in rows]
            frames = [2 * max(1, -(-prompts[row].samples // _ALIGNMENT_SAMPLES)) for row in rows]
            results = self._model.align(_view(encoded[rows]), start, tokens, frames)
            for row, result in zip(rows, results, strict=True):
                said, at = np.asarray(result.alignments).T
                first = np.searchsorted(said, np.arange(len(hypotheses[row].tokens) + 1))
                times[row] = TokenTimes((at[first] * _ALIGNMENT_SAMPLES).tolist(), list(result.text_token_probs))
        return [times[row] for row in range(len(prompts))]

    def _special(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise ValueError(f"the tokenizer knows no {token}: not a multilingual Whisper")
        return int(number)

    def _start_tokens(self, prompt: Prompt) -> list[int]:
        previous = [self._previous, *prompt.previous] if prompt.previous else []
        task = [self._start, self._languages[prompt.language], self._transcribe, self._no_timestamps]
        return [*previous, *task]

    def _hypothesis(self, result: ctranslate2.models.WhisperGenerationResult, limit: int) -> Hypothesis:
        generated = result.sequences_ids[0]
        tokens = tuple(token for token in generated[:limit] if token < self._text_end)
        avg_logprob = result.scores[0] * len(generated) / (len(generated) + 1)
        degenerate = len(generated) >= limit or _compression_ratio(self.text(tokens)) > _MAX_COMPRESSION_RATIO
        return Hypothesis(tokens, result.no_speech_prob, avg_logprob, degenerate)


def _view(array: FloatArray) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))


def _code(token: str) -> str:
    """`en` of `<|en|>`."""
    return token[2:-2]


def _groups(keys: Sequence[Hashable]) -> Iterator[list[int]]:
    """Rows that share a key."""
    for key in dict.fromkeys(keys):
        yield [row for row, other in enumerate(keys) if other == key]


def _token_limit(samples: int) -> int:
    return min(_TOKENS_AT_LEAST + _TOKENS_PER_S * samples // SAMPLE_RATE_HZ, _MAX_TOKENS)


def _compression_ratio(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))
