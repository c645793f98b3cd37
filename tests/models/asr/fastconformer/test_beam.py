"""Beam search against a plain one with dictionaries, alone, in batches, in any cut, and interrupted."""

import math
from collections.abc import Sequence
from difflib import SequenceMatcher

import pytest
import torch
from torch import Tensor

from models.asr.fastconformer import hypotheses
from models.asr.fastconformer.beam import CANDIDATES, BeamDecoder
from models.asr.fastconformer.boosting import DEFAULT_WEIGHT, boost
from models.asr.fastconformer.decoder import Heard, Token
from models.asr.fastconformer.hypotheses import CROWDED, TAIL, WIDTH, Hypotheses
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.ngram import Fusion, NGram
from models.base import StreamError
from tests.models.asr.fastconformer import small
from tests.models.asr.fastconformer.test_boosting import saying

VOCABULARY = small.vocabulary()
CAPACITY = 6
FRAMES = 60
FUSION = Fusion(0.7, 0.5)
BLANK = small.VOCABULARY


def ngram(fusion: Fusion = FUSION) -> NGram:
    return NGram(small.arcs(), fusion, BLANK)


@pytest.fixture(scope="module")
def network() -> FastConformer:
    return small.network()


@pytest.fixture(scope="module")
def model() -> NGram:
    return ngram()


def decoder(network: FastConformer, model: NGram, dtype: torch.dtype = torch.float32) -> BeamDecoder:
    return BeamDecoder(network, VOCABULARY, model, CAPACITY, dtype)


def reference(network: FastConformer, model: NGram, encoded: Tensor) -> list[int]:
    """The best hypothesis of one row `[T, width]`, prefix by prefix."""
    assert network.ctc_decoder is not None
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    language: dict[tuple[int, ...], tuple[float, int]] = {(): (0.0, model.start)}
    for row in network.ctc_decoder(encoded).log_softmax(-1).tolist():
        found: dict[tuple[int, ...], list[list[float]]] = {}
        for prefix, (blank, voiced) in beams.items():
            found.setdefault(prefix, [[], []])[0] += [blank + row[BLANK], voiced + row[BLANK]]
            if prefix:
                found[prefix][1].append(voiced + row[prefix[-1]])
            every = torch.arange(BLANK)[None]
            scores, following = (values[0].tolist() for values in model(torch.tensor([language[prefix][1]]), every))
            for token in sorted(range(BLANK), key=row.__getitem__)[-CANDIDATES:]:
                longer = (*prefix, token)
                paths = [blank] if prefix and token == prefix[-1] else [blank, voiced]
                found.setdefault(longer, [[], []])[1].extend(path + row[token] for path in paths)
                gain = model.fusion.weight * scores[token] + model.fusion.word_bonus * VOCABULARY.starts_word(token)
                language[longer] = language[prefix][0] + gain, int(following[token])
        total = {prefix: (_sum(blank), _sum(voiced)) for prefix, (blank, voiced) in found.items()}
        scored = sorted(((_sum(ways) + language[prefix][0], prefix) for prefix, ways in total.items()), reverse=True)
        beams = {prefix: total[prefix] for _, prefix in scored[:WIDTH]}
    return list(next(iter(beams)))


def _sum(logarithms: Sequence[float]) -> float:
    highest = max(logarithms, default=-math.inf)
    return highest if math.isinf(highest) else highest + math.log(sum(math.exp(v - highest) for v in logarithms))


def ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


def whole(parts: Sequence[Heard]) -> list[Token]:
    """All tokens of a stream from what its chunks added."""
    return [token for part in parts for token in part.certain] + parts[-1].likely


def test_a_batch_of_streams(network: FastConformer, model: NGram) -> None:
    encoded = small.frames(CAPACITY, FRAMES)
    heard = decoder(network, model).step([3, 1, 0, 5, 2, 4], encoded)
    for row, frames in zip(heard, encoded, strict=True):
        assert ids([*row.certain, *row.likely]) == reference(network, model, frames)


def test_the_words_are_not_the_greedy_ones(network: FastConformer, model: NGram) -> None:
    frames = small.frames(1, FRAMES)[0]
    assert reference(network, model, frames) != ids(small.ctc_reference(network, frames))


def test_tokens_have_their_time_and_probability(network: FastConformer, model: NGram) -> None:
    """A token's frame is one at which it is about as likely as it says."""
    assert network.ctc_decoder is not None
    (frames,) = small.frames(1, FRAMES)
    logprobs = network.ctc_decoder(frames).log_softmax(-1)
    tokens = whole(decoder(network, model).step([0], frames[None]))
    assert [token.frame for token in tokens] == sorted({token.frame for token in tokens})
    assert all(math.isclose(float(logprobs[t.frame, t.id]), t.logprob, abs_tol=1e-4) for t in tokens)


def test_streams_that_step_when_they_can(network: FastConformer, model: NGram) -> None:
    """Each is cut elsewhere, and shares each step with whichever others have as much."""
    encoded = small.frames(CAPACITY, FRAMES)
    together = decoder(network, model)
    parts = small.ragged(encoded, together.step)
    alone = decoder(network, model)
    for slot in range(CAPACITY):
        tokens = whole(parts[slot])
        assert ids(tokens) == reference(network, model, encoded[slot])
        assert small.same(tokens, whole([alone.step([slot], encoded[slot, None, n : n + 1])[0] for n in range(FRAMES)]))
        assert together.silence(slot) == alone.silence(slot) == FRAMES - 1 - tokens[-1].frame


def test_certain_tokens_stay(network: FastConformer, model: NGram) -> None:
    (frames,) = small.frames(1, 4 * FRAMES)
    stream, certain = decoder(network, model), 0
    for frame in range(len(frames)):
        heard = stream.step([0], frames[None, frame : frame + 1])[0]
        certain += len(heard.certain)
        assert len(heard.likely) <= CROWDED < TAIL
    assert certain > FRAMES / 4


def test_reset(network: FastConformer, model: NGram) -> None:
    first, second = small.frames(2, FRAMES)
    stream = decoder(network, model)
    stream.step([2], first[None])
    stream.reset(2)
    assert ids(whole(stream.step([2], second[None]))) == reference(network, model, second)


def test_a_peek_changes_nothing(network: FastConformer, model: NGram) -> None:
    (frames,) = small.frames(1, FRAMES)
    stream = decoder(network, model)
    first = stream.step([2], frames[None, :25])[0]
    seen = stream.peek([2], frames[None, 25:40])[0]
    assert ids(whole([first, seen])) == reference(network, model, frames[:40])
    assert ids(whole([first, stream.step([2], frames[None, 25:])[0]])) == reference(network, model, frames)


def test_a_snapshot_goes_on_in_another_slot(network: FastConformer, model: NGram) -> None:
    (frames,) = small.frames(1, FRAMES)
    stream, other = decoder(network, model), decoder(network, model)
    first = stream.step([2], frames[None, :31])[0]
    other.restore(5, stream.snapshot(2))
    assert other.silence(5) == stream.silence(2)
    assert ids(whole([first, other.step([5], frames[None, 31:])[0]])) == reference(network, model, frames)
    with pytest.raises(StreamError, match="does not fit"):
        other.restore(5, b"\x80")


def test_scores_stay_near_zero(network: FastConformer, model: NGram) -> None:
    """However long a stream is, float32 tells its hypotheses apart."""
    (frames,) = small.frames(1, FRAMES)
    stream = decoder(network, model)
    for _ in range(50):
        stream.step([0], frames[None])
        slot = Hypotheses(*(stream._state[name][:1] for name in Hypotheses._fields))
        assert math.isclose(float(slot.scores.max()), 0, abs_tol=1e-3)


def test_bf16_is_close(network: FastConformer, model: NGram) -> None:
    """Most tokens are those of fp32; their probabilities add up in fp32."""
    encoded = small.frames(CAPACITY, FRAMES)
    agree = []
    for row, frames in zip(
        decoder(network, model, torch.bfloat16).step(range(CAPACITY), encoded), encoded, strict=True
    ):
        got, wanted = ids(whole([row])), reference(network, model, frames)
        assert all(-30 < token.logprob <= 0 for token in whole([row]))
        agree.append(SequenceMatcher(None, got, wanted).ratio())
    assert sum(agree) / CAPACITY > 0.7


def boosted(said: str, instead: str, margin: float, phrase: str) -> list[int]:
    """What is heard with `phrase` boosted where `said` was, each token likelier by `margin` than `instead`'s."""
    network, encoded = saying(VOCABULARY.encode(said), VOCABULARY.encode(instead), margin)
    stream = decoder(network, ngram(Fusion(0.0, 0.0)))
    stream.reset(1, boost([phrase], VOCABULARY))
    plain, better = stream.step([0, 1], encoded.expand(2, -1, -1))
    assert ids(whole([plain])) == VOCABULARY.encode(said)
    return ids(whole([better]))


def test_a_near_miss_becomes_the_phrase() -> None:
    assert boosted("the fox", "the day", 1.2 * DEFAULT_WEIGHT, "the day") == VOCABULARY.encode("the day")


def test_half_a_phrase_gains_nothing() -> None:
    """One token of it would gain enough, were it kept where the phrase does not go on."""
    said, phrase = VOCABULARY.encode("the fox"), VOCABULARY.encode("the day")
    half = VOCABULARY.decode([*phrase[:2], *said[2:]])
    assert boosted("the fox", half, 0.9 * DEFAULT_WEIGHT, "the day") == said


def test_phrases_survive_a_snapshot() -> None:
    network, encoded = saying(VOCABULARY.encode("the fox"), VOCABULARY.encode("the day"), 1.2 * DEFAULT_WEIGHT)
    stream, other = (decoder(network, ngram(Fusion(0.0, 0.0))) for _ in range(2))
    stream.reset(0, boost(["the day"], VOCABULARY))
    other.reset(3, boost(["the day"], VOCABULARY))
    first = stream.step([0], encoded[:, :4])[0]
    other.restore(3, stream.snapshot(0))
    assert ids(whole([first, other.step([3], encoded[:, 4:])[0]])) == VOCABULARY.encode("the day")
    with pytest.raises(StreamError, match="phrases"):
        other.restore(2, stream.snapshot(0))


def test_a_crowded_tail_settles_the_best_one() -> None:
    """And gives up what began otherwise, though it may be longer."""
    one = hypotheses.start(BLANK, BLANK, torch.device("cpu"))
    tails = torch.arange(TAIL).expand(WIDTH, -1).clone()
    tails[1, 3] = TAIL
    scores = torch.tensor([-1.0, -2.0, -3.0] + [-math.inf] * (WIDTH - 3))
    length = torch.tensor([CROWDED + 4, CROWDED + 5, CROWDED + 2] + [0] * (WIDTH - 3))
    many = one._replace(blank=scores, length=length, tokens=tails)
    kept, best, settled = hypotheses.settle(Hypotheses(*(value[None] for value in many)))
    assert settled.tolist() == [5]
    assert best.length.tolist() == [CROWDED + 4]
    assert kept.blank[0, :3].tolist() == [0, -math.inf, -2]
    assert kept.tokens[0, 0, :3].tolist() == [5, 6, 7]
    assert kept.length[0, 0] == CROWDED - 1


def test_a_network_without_the_head(model: NGram) -> None:
    with pytest.raises(ValueError, match="no CTC head"):
        decoder(small.network(ctc=False), model)
