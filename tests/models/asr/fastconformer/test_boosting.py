"""Phrases: the automaton against a plain one, and what it does to a network's near misses."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from models.asr.fastconformer.boosting import (
    DEEPEST_GAIN,
    DEFAULT_WEIGHT,
    MAX_CHARACTERS,
    MAX_PHRASES,
    Boosting,
    PhrasePool,
    boost,
)
from models.asr.fastconformer.config import Config, EncoderConfig, RnntConfig
from models.asr.fastconformer.ctc import CtcDecoder
from models.asr.fastconformer.decoder import Decoder
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.transducer import TransducerDecoder
from models.base import StreamError
from tests.models.asr.fastconformer import small

VOCABULARY = small.vocabulary()
PHRASES = ["new york", "new york city", "york city barks", "the dog", "hello", "day"]
CAPACITY = 5
FRAMES = 40
LOUD = 20.0
both = pytest.mark.parametrize("make", [CtcDecoder, TransducerDecoder], ids=["ctc", "rnnt"])
Make = Callable[..., Decoder]


@pytest.fixture(scope="module")
def network() -> FastConformer:
    return small.network()


def gains(phrases: Sequence[Sequence[int]], written: Sequence[int]) -> dict[int, float]:
    """What each token gains after `written`: plainly, from the longest end of it that begins a phrase."""
    result: dict[int, float] = {}
    for begin in range(len(written), -1, -1):
        end = tuple(written[begin:])
        for phrase in phrases:
            if len(phrase) > len(end) and tuple(phrase[: len(end)]) == end:
                since = max((len(p) for p in phrases if len(p) <= len(end) and tuple(p) == end[: len(p)]), default=0)
                result[phrase[len(end)]] = min(DEEPEST_GAIN, len(end) - since + 1)
    return result


def test_the_automaton_against_a_plain_search() -> None:
    """In two slots at once, along random tokens that mostly go along phrases; a third slot has none."""
    torch.manual_seed(0)
    pool = PhrasePool(3, small.VOCABULARY, torch.device("cpu"))
    pool.set(2, boost(PHRASES, VOCABULARY, 1.0))
    pool.set(0, boost(PHRASES[::2], VOCABULARY, 1.0))
    slots, states = torch.tensor([2, 0, 1]), torch.zeros(3, dtype=torch.long)
    phrases = [[VOCABULARY.encode(text) for text in texts] for texts in (PHRASES, PHRASES[::2], [])]
    written: list[list[int]] = [[], [], []]
    for _ in range(400):
        expected = torch.zeros(3, small.VOCABULARY)
        for row in range(3):
            for token, gain in gains(phrases[row], written[row][-30:]).items():
                expected[row, token] = gain
        assert torch.equal(pool.arcs(slots, states)[0], expected)
        wanted = torch.where(torch.rand(3) < 0.9, _some(expected), torch.randint(small.VOCABULARY, (3,)))
        logits = torch.zeros(3, small.VOCABULARY).scatter(1, wanted[:, None], 1000.0)
        tokens, states = pool.choose(slots, states, logits)
        assert tokens.tolist() == wanted.tolist()
        for row in range(3):
            written[row].append(int(tokens[row]))
    assert pool.states(1) == 1
    assert int(states[2]) == 0


def _some(gains: Tensor) -> Tensor:
    """Any token that gains, of each row; otherwise any at all."""
    return torch.multinomial(gains.sign() + 1e-6, 1)[:, 0]


def saying(said: Sequence[int], instead: Sequence[int], margin: float) -> tuple[FastConformer, Tensor]:
    """A network whose logits are its encoder frames, and frames that say `said`, each token with a blank after it, or
    `instead`, with logits that are less by `margin`.
    """
    encoder = EncoderConfig(layers=1, width=64, heads=1, feedforward=1, subsampling_channels=1)
    rnnt = RnntConfig(prediction_width=1, joint_width=64, max_symbols=1)
    network = FastConformer(Config(small.VOCABULARY, encoder, rnnt=rnnt)).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if not name.startswith("encoder"):
            parameter.zero_()
        if name in ("ctc_decoder.decoder_layers.0.weight", "joint.enc.weight", "joint.joint_net.2.weight"):
            parameter.view(len(parameter), -1).fill_diagonal_(1)
    frames = torch.zeros(1, 2 * len(said), 64)
    frames[0, 1::2, small.VOCABULARY] = LOUD
    for place, tokens in enumerate(zip(said, instead, strict=True)):
        frames[0, 2 * place, tokens[1]] = LOUD - margin
        frames[0, 2 * place, tokens[0]] = LOUD
    return network, frames


@both
def test_streams_without_phrases_are_untouched(network: FastConformer, make: Make) -> None:
    """Bit for bit while others wait; beside others, to the rounding of a batch of another shape."""
    encoded = small.frames(CAPACITY, FRAMES)
    plain, boosted = make(network, CAPACITY), make(network, CAPACITY)
    boosted.reset(1, boost(PHRASES, VOCABULARY, 5.0))
    boosted.reset(3, boost(PHRASES[:2], VOCABULARY, 5.0))
    before, after = (small.certain(decoder.peek(range(CAPACITY), encoded)) for decoder in (plain, boosted))
    assert all(small.same(before[row], after[row]) for row in (0, 2, 4))
    assert before[1] != after[1]
    before, after = (small.certain(decoder.step([0, 2, 4], encoded[::2])) for decoder in (plain, boosted))
    assert before == after


@both
def test_a_boosted_stream_does_not_depend_on_its_neighbours(network: FastConformer, make: Make) -> None:
    encoded = small.frames(CAPACITY, FRAMES)
    phrases = [boost(PHRASES[slot:], VOCABULARY, 3.0) for slot in range(CAPACITY)]
    together = make(network, CAPACITY)
    for slot in range(CAPACITY):
        together.reset(slot, phrases[slot])
    first = small.certain(together.step([4, 2, 0, 1, 3], encoded[:, :17]))
    second = small.certain(together.step([4, 2, 0, 1, 3], encoded[:, 17:]))
    for row, slot in enumerate([4, 2, 0, 1, 3]):
        alone = make(network, CAPACITY)
        alone.reset(slot, phrases[slot])
        assert small.same(first[row] + second[row], small.certain(alone.step([slot], encoded[row : row + 1]))[0])


def test_a_phrase_changes_which_token_is_written_not_whether(network: FastConformer) -> None:
    encoded = small.frames(CAPACITY, FRAMES)
    plain, boosted = CtcDecoder(network, CAPACITY), CtcDecoder(network, CAPACITY)
    for slot in range(CAPACITY):
        boosted.reset(slot, boost(PHRASES, VOCABULARY, 4.0))
    for before, after in zip(*(small.certain(d.step(range(CAPACITY), encoded)) for d in (plain, boosted)), strict=True):
        assert {token.frame for token in after} <= {token.frame for token in before}


@both
def test_a_near_miss_becomes_the_phrase(make: Make) -> None:
    """By a margin that more than one token of the phrase makes up for."""
    said, phrase = VOCABULARY.encode("the fox"), VOCABULARY.encode("the day")
    network, encoded = saying(said, phrase, 1.5 * DEFAULT_WEIGHT)
    decoder = make(network, 2)
    decoder.reset(1, boost(["the day"], VOCABULARY))
    plain, boosted = small.certain(decoder.step([0, 1], encoded.expand(2, -1, -1)))
    assert [token.id for token in plain] == said
    assert [token.id for token in boosted] == phrase


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_a_label_that_lasts_becomes_one_token_of_the_phrase(size: int) -> None:
    """However it is cut, and though the network changes its mind for the phrase's own token without a blank between."""
    the, f, o, x = VOCABULARY.encode("the fox")
    phrase = VOCABULARY.encode("the day")
    said, instead = [the, the, f, f, f, phrase[1], o, o, x], [phrase[n] for n in (0, 0, 1, 1, 1, 1, 2, 2, 3)]
    network, encoded = saying(said, instead, 1.5 * DEFAULT_WEIGHT)
    decoder = CtcDecoder(network, 1)
    decoder.reset(0, boost(["the day"], VOCABULARY))
    without_blanks = encoded[:, ::2]
    tokens = [
        token for chunk in torch.split(without_blanks, size, 1) for token in small.certain(decoder.step([0], chunk))[0]
    ]
    assert [token[:2] for token in tokens] == list(zip(phrase, (0, 2, 6, 8), strict=True))


@both
def test_a_phrase_that_was_not_said_is_not_written(make: Make) -> None:
    """Its beginning was, but what follows is clear."""
    said = VOCABULARY.encode("the fox")
    network, encoded = saying(said, VOCABULARY.encode("the day"), 1 + DEEPEST_GAIN * DEFAULT_WEIGHT)
    decoder = make(network, 1)
    decoder.reset(0, boost(["the day"], VOCABULARY))
    assert [token.id for token in small.certain(decoder.step([0], encoded))[0]] == said


@both
def test_phrases_survive_a_snapshot(network: FastConformer, make: Make) -> None:
    encoded = small.frames(1, FRAMES)
    boosting = boost(PHRASES, VOCABULARY, 4.0)
    decoder, other = make(network, CAPACITY), make(network, CAPACITY)
    decoder.reset(2, boosting)
    whole = small.certain(decoder.peek([2], encoded))[0]
    for cut in range(1, FRAMES, 7):
        decoder.reset(2, boosting)
        first = small.certain(decoder.step([2], encoded[:, :cut]))[0]
        other.reset(4, boost(PHRASES, VOCABULARY, 4.0))
        other.restore(4, decoder.snapshot(2))
        assert small.same(first + small.certain(other.step([4], encoded[:, cut:]))[0], whole)
    decoder.reset(2, boosting)
    small.certain(decoder.step([2], encoded[:, :20]))
    assert decoder.silence(2) < 20


def test_a_snapshot_inside_a_phrase_needs_that_phrase() -> None:
    phrase = VOCABULARY.encode("the dog barks")
    network, encoded = saying(phrase[:3], phrase[:3], 0.0)
    decoder = CtcDecoder(network, 2)
    decoder.reset(0, boost(["the dog barks"], VOCABULARY))
    small.certain(decoder.step([0], encoded))
    with pytest.raises(StreamError, match="phrases"):
        decoder.restore(1, decoder.snapshot(0))


@pytest.mark.parametrize(
    ("phrases", "message", "param"),
    [
        (["a"] * (MAX_PHRASES + 1), "at most 1000", "keywords"),
        (["day", "a" * (MAX_CHARACTERS + 1)], "at most 100", "keywords[1]"),
        (["day", "dog", "gpt 4"], "no tokens for 'gpt 4'", "keywords[2]"),
    ],
)
def test_what_is_refused(phrases: list[str], message: str, param: str) -> None:
    with pytest.raises(StreamError, match=message) as caught:
        boost(phrases, VOCABULARY, param="keywords")
    assert caught.value.param == param


def test_as_many_phrases_as_are_taken() -> None:
    phrases = [f"{'ab' * (n % 40)} {'new' * (n // 40 % 30)} york"[:MAX_CHARACTERS] for n in range(MAX_PHRASES)]
    boosting = boost(phrases, VOCABULARY)
    assert isinstance(boosting, Boosting)
    assert len(boosting.begins) > MAX_PHRASES
    nothing = boost(["", "!?"], VOCABULARY)
    assert len(nothing.begins) == 1
