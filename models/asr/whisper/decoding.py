"""What to make of a passage of audio: which language, which hypothesis, which words when."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from models.asr.whisper.network import Hypothesis, Prompt, TokenTimes, WhisperNetwork
from models.asr.words import TimedWord, Word, split_words, time_words
from models.audio import SAMPLE_RATE_HZ, FloatArray

_MIN_AVG_LOGPROB = -1.0
_RETRY_BEAM_SIZE = 5
_MAX_DRAFT_NO_SPEECH = 0.6
_NOISE_NO_SPEECH = 0.7
_NOISE_AVG_LOGPROB = -0.5
"""Silence, noise, tones and coughs scored 0.76 and -0.6 or worse; speech, even half a second of it, 0.5 or better."""
_SURE_SAMPLES = 2 * SAMPLE_RATE_HZ
_SURE_PROBABILITY = 0.5
_MIN_PROBABILITY = 1e-10


class Passage(NamedTuple):
    """Samples [start, end) of a slot. Without a `language` it is detected; `forced` tokens begin what is said."""

    slot: int
    start: int
    end: int
    language: str | None
    prompt: tuple[int, ...]
    forced: tuple[int, ...] = ()


class Draft(NamedTuple):
    """Words heard after the forced tokens. Not `plausible`: more likely noise than speech."""

    language: str
    words: list[Word]
    plausible: bool


class Transcript(NamedTuple):
    """What was said, nothing if it was only noise. `detected`: the language was not given, and there was enough
    speech to be sure of it.
    """

    text: str
    language: str
    detected: bool
    words: list[TimedWord]
    tokens: list[tuple[str, float]]
    """Text and log-probability."""
    no_speech: float
    avg_logprob: float


def draft(network: WhisperNetwork, audio: FloatArray, passages: Sequence[Passage]) -> list[Draft]:
    """One quick hypothesis for each passage; audio is float32 `[B, 240000]`, silent after the passage."""
    encoded = network.encode(audio)
    prompts = [prompt for prompt, _ in _prompts(network, encoded, passages)]
    drafts = []
    for prompt, hypothesis in zip(prompts, network.generate(encoded, prompts), strict=True):
        words = split_words(hypothesis.tokens[len(prompt.forced) :], prompt.language, network.text)
        plausible = not hypothesis.degenerate and hypothesis.no_speech <= _MAX_DRAFT_NO_SPEECH
        drafts.append(Draft(prompt.language, words, plausible))
    return drafts


def transcribe(network: WhisperNetwork, audio: FloatArray, passages: Sequence[Passage]) -> list[Transcript]:
    """The best hypothesis for each passage, aligned; audio is float32 `[B, 240000]`, silent after the passage."""
    encoded = network.encode(audio)
    prompted = _prompts(network, encoded, passages)
    prompts = [prompt for prompt, _ in prompted]
    hypotheses = [
        _retried(network, encoded[row : row + 1], prompts[row], hypothesis)
        for row, hypothesis in enumerate(network.generate(encoded, prompts))
    ]
    times = network.align(encoded, prompts, hypotheses)
    return [
        _transcript(network, passages[row], prompted[row], hypotheses[row], times[row]) for row in range(len(passages))
    ]


def _prompts(network: WhisperNetwork, encoded: FloatArray, passages: Sequence[Passage]) -> list[tuple[Prompt, bool]]:
    """What to decode each passage from, and whether its language was detected for sure."""
    unknown = [row for row, passage in enumerate(passages) if passage.language is None]
    detected = dict(zip(unknown, network.detect(encoded[unknown]), strict=True)) if unknown else {}
    prompts = []
    for row, passage in enumerate(passages):
        samples = passage.end - passage.start
        language, probability = detected.get(row, (passage.language or "", 0.0))
        sure = samples >= _SURE_SAMPLES and probability > _SURE_PROBABILITY
        prompts.append((Prompt(samples, language, passage.prompt, passage.forced), sure))
    return prompts


def _retried(network: WhisperNetwork, encoded: FloatArray, prompt: Prompt, greedy: Hypothesis) -> Hypothesis:
    """A doubtful hypothesis is searched for once more with a beam, alone so that other rows do not matter."""
    if not greedy.degenerate and greedy.avg_logprob >= _MIN_AVG_LOGPROB:
        return greedy
    (beam,) = network.generate(encoded, [prompt], beam_size=_RETRY_BEAM_SIZE)
    return beam if greedy.degenerate or beam.avg_logprob > greedy.avg_logprob else greedy


def _transcript(
    network: WhisperNetwork,
    passage: Passage,
    prompted: tuple[Prompt, bool],
    hypothesis: Hypothesis,
    times: TokenTimes,
) -> Transcript:
    prompt, detected = prompted
    if hypothesis.no_speech > _NOISE_NO_SPEECH and hypothesis.avg_logprob < _NOISE_AVG_LOGPROB:
        return Transcript("", prompt.language, False, [], [], hypothesis.no_speech, hypothesis.avg_logprob)
    words = split_words(hypothesis.tokens, prompt.language, network.text)
    logprobs = [math.log(max(probability, _MIN_PROBABILITY)) for probability in times.probabilities]
    return Transcript(
        text=network.text(hypothesis.tokens).strip(),
        language=prompt.language,
        detected=detected,
        words=time_words(words, times.samples, times.probabilities, passage.start, passage.end),
        tokens=[(network.text([token]), logprob) for token, logprob in zip(hypothesis.tokens, logprobs, strict=True)],
        no_speech=hypothesis.no_speech,
        avg_logprob=hypothesis.avg_logprob,
    )
