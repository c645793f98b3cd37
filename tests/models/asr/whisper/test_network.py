"""The network behind Whisper: what prompts may do, and the bounds on what it says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.asr.whisper.network import HEARD_SAMPLES, MAX_PROMPT_TOKENS, Hypothesis, Prompt, WhisperNetwork
from models.audio import FloatArray

Speech = Callable[[str], bytes]


@pytest.fixture(scope="module")
def network(checkpoint: Callable[[str], Path]) -> WhisperNetwork:
    return WhisperNetwork(checkpoint("whisper-base"), threads=1)


@pytest.fixture(scope="module")
def encoded(network: WhisperNetwork, speech: Speech) -> FloatArray:
    """The encoding `[1, 750, width]` of a clip of 47 840 samples."""
    audio = np.zeros((1, HEARD_SAMPLES), np.float32)
    audio[0, :47_840] = np.frombuffer(speech("sense_0880"), "<i2").astype(np.float32) / 32_768
    return network.encode(audio)


def hypothesis(
    network: WhisperNetwork, encoded: FloatArray, samples: int = 47_840, forced: tuple[int, ...] = ()
) -> Hypothesis:
    (heard,) = network.generate(encoded, [Prompt(samples, "en", (), forced)])
    return heard


def test_a_hypothesis_begins_with_what_it_is_forced_to(network: WhisperNetwork, encoded: FloatArray) -> None:
    forced = network.tokenize("She was not a")
    heard = hypothesis(network, encoded, forced=forced)
    assert heard.tokens[: len(forced)] == forced
    assert network.text(heard.tokens).endswith("young man.")


def test_rows_with_other_forced_tokens_and_prompts_decode_as_if_alone(
    network: WhisperNetwork, encoded: FloatArray
) -> None:
    previous = network.tokenize("An ill-disposed man.")
    prompts = [
        Prompt(47_840, "en", (), ()),
        Prompt(47_840, "en", previous, ()),
        Prompt(47_840, "en", (), network.tokenize("He was not")),
        Prompt(8_000, "de", (), ()),
    ]
    alone = [network.generate(encoded, [prompt])[0].tokens for prompt in prompts]
    together = network.generate(np.repeat(encoded, len(prompts), axis=0), prompts)
    assert [heard.tokens for heard in together] == alone


def test_a_hypothesis_that_does_not_end_in_time_is_degenerate(network: WhisperNetwork, encoded: FloatArray) -> None:
    whole = hypothesis(network, encoded)
    cut = hypothesis(network, encoded, samples=1_000)
    assert not whole.degenerate
    assert cut.degenerate
    assert cut.tokens == whole.tokens[:9]


def test_a_hypothesis_that_repeats_itself_is_degenerate(network: WhisperNetwork, encoded: FloatArray) -> None:
    repeated = network.tokenize("I am so sorry. " * 8)
    assert hypothesis(network, encoded, forced=repeated, samples=HEARD_SAMPLES).degenerate


def test_a_prompt_becomes_its_last_plain_tokens(network: WhisperNetwork) -> None:
    assert network.text(network.tokenize(" hello there ")) == " hello there"
    assert network.text(network.tokenize("<|endoftext|>hello<|startoftranscript|><|de|><|0.00|>")).strip() == "hello"
    assert network.tokenize("<|startoftranscript|>") == network.tokenize("")
    long = network.tokenize("word " * 1_000 + "end")
    assert len(long) == MAX_PROMPT_TOKENS
    assert network.text(long).endswith(" word end")


def test_knows_its_languages(network: WhisperNetwork, encoded: FloatArray) -> None:
    assert len(network.languages) == 99
    assert {"en", "de", "zh"} < network.languages
    ((language, probability),) = network.detect(encoded)
    assert language == "en"
    assert 0.5 < probability <= 1
