"""Replies: alone and together, cut short, moved, and longer than the context."""

import json
from random import Random
from typing import Any

import pytest

from models.base import Message, Output, StreamError
from models.lm.model import DECODE, MAX_REQUESTS, PREFILL, PREFILL_TOKENS, LanguageModel
from tests.models.lm.conftest import CAPACITY, CONTEXT
from tests.models.lm.replies import ask, finish, step, text, tokens, waiting
from workers.scheduler import Scheduler, Work

GREEDY: dict[str, Any] = {"temperature": 0.0}
SAMPLED: dict[str, Any] = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "seed": 11}
COLOURS = ["red", "green", "blue", "ultramarine"]
SCHEMA = {"type": "array", "items": {"enum": COLOURS}, "minItems": 4, "maxItems": 4}
JSON: dict[str, Any] = {
    **SAMPLED,
    "response_format": {"type": "json_schema", "json_schema": {"name": "colours", "schema": SCHEMA}},
}
"""Constrained, so that even random weights say something sensible."""
ASKED: list[tuple[str | list[int], dict[str, Any]]] = [
    ("Hello", {**GREEDY, "max_tokens": 20}),
    ("A rather longer question, in two parts?", {**SAMPLED, "max_tokens": 25}),
    ("x", {**SAMPLED, "seed": 5, "max_tokens": 9}),
    ("What is the time now?", {**GREEDY, "max_tokens": 60}),
    ([*range(80)], {**SAMPLED, "max_tokens": 70}),
    ("Which colours?", JSON),
]


def alone(model: LanguageModel, slot: int, prompt: str | list[int], **options: Any) -> list[Output]:
    model.open(slot, {})
    ask(model, slot, prompt, **options)
    return finish(model)[slot]


def test_a_reply(model: LanguageModel) -> None:
    outputs = alone(model, 0, "Hello", **GREEDY, max_tokens=8)
    assert [output.kind for output in outputs] == ["token"] * 8 + ["done"]
    assert [output.meta["index"] for output in outputs[:-1]] == [*range(8)]
    assert all(output.meta["logprob"] <= 0 and output.meta["number"] == 0 for output in outputs[:-1])
    done = outputs[-1].meta
    assert done["reason"] == "length"
    prompt = len("user:Hello\nassistant:")
    usage = {"prompt_tokens": prompt, "cached_tokens": 0, "completion_tokens": 8}
    assert done["usage"] == usage
    assert done["error"] is None


@pytest.mark.parametrize("seed", range(6))
def test_alone_or_together_in_any_order(model: LanguageModel, seed: int) -> None:
    """Slots join and leave at random times; whatever shares a step, each reply is what it is alone."""
    random = Random(seed)
    wanted = [tokens(alone(model, 0, prompt, **options)) for prompt, options in ASKED]
    slots = random.sample(range(CAPACITY), len(ASKED))
    for slot in slots:
        model.open(slot, {})
    found: dict[int, list[Output]] = {slot: [] for slot in slots}
    unasked = list(zip(slots, ASKED, strict=True))
    while unasked or any(model.pending()):
        if unasked and (random.random() < 0.1 or not any(model.pending())):
            slot, (prompt, options) = unasked.pop()
            ask(model, slot, prompt, **options)
        for output in step(model, random):
            found[output.slot].append(output)
    assert [tokens(found[slot]) for slot in slots] == wanted


def test_seeds(model: LanguageModel) -> None:
    first = tokens(alone(model, 0, "Hi", seed=1, max_tokens=20))
    assert tokens(alone(model, 3, "Hi", seed=1, max_tokens=20)) == first
    assert tokens(alone(model, 0, "Hi", seed=2, max_tokens=20)) != first
    assert tokens(alone(model, 0, "Hi", max_tokens=20)) != tokens(alone(model, 0, "Hi", max_tokens=20))


def test_a_stop_string_is_never_half_emitted(model: LanguageModel) -> None:
    everything = text(alone(model, 0, "Hi", **SAMPLED, max_tokens=40))
    stop = everything[10:14]
    outputs = alone(model, 0, "Hi", **SAMPLED, max_tokens=40, stop=[stop])
    assert text(outputs) == everything[: everything.index(stop)]
    assert outputs[-1].meta["reason"] == "stop"


def test_text_held_back_comes_with_the_end(model: LanguageModel) -> None:
    everything = text(alone(model, 0, "Hi", **SAMPLED, max_tokens=12))
    outputs = alone(model, 0, "Hi", **SAMPLED, max_tokens=12, stop=[everything[-1] + "never"])
    assert text(outputs) == everything
    assert outputs[-1].meta["text"] == everything[-1]


def test_a_stop_token_ends_the_reply_and_is_not_part_of_it(model: LanguageModel) -> None:
    whole = tokens(alone(model, 0, "Hi", **SAMPLED, max_tokens=12))
    at = 5
    outputs = alone(model, 0, "Hi", **SAMPLED, max_tokens=12, stop_tokens=[whole[at]])
    assert tokens(outputs) == whole[: whole.index(whole[at])]
    assert outputs[-1].meta["reason"] == "stop"


def test_a_conversation_that_grows_reuses_its_cache(model: LanguageModel) -> None:
    prompt = [*range(20)]
    reply = tokens(alone(model, 0, prompt, **GREEDY, max_tokens=5))
    grown = [*prompt, *reply, 1, 2, 3]
    ask(model, 0, grown, **GREEDY, max_tokens=5)
    # The last token of a reply is put out before it is computed.
    assert waiting(model, 0).bucket == (PREFILL, 4)
    outputs = finish(model)[0]
    assert outputs[-1].meta["usage"]["cached_tokens"] == len(prompt) + len(reply) - 1
    assert tokens(outputs) == tokens(alone(model, 1, grown, **GREEDY, max_tokens=5))


def test_requests_of_a_slot_are_answered_in_order(model: LanguageModel) -> None:
    for prompt in ("one", "two"):
        ask(model, 0, prompt, **GREEDY, max_tokens=3)
    assert [output.meta["number"] for output in finish(model)[0]] == [0] * 4 + [1] * 4


def test_cancel(model: LanguageModel) -> None:
    for _ in range(2):
        ask(model, 0, "Hello", **GREEDY, max_tokens=50)
    for _ in range(4):
        step(model)
    model.cancel(0, 1)
    ask(model, 0, "Hello there", **GREEDY, max_tokens=3)
    outputs = finish(model)[0]
    ends = [(output.meta["number"], output.meta["reason"]) for output in outputs if output.kind == "done"]
    assert ends == [(0, "cancelled"), (1, "cancelled"), (2, "length")]
    assert outputs[0].meta["usage"]["completion_tokens"] == 4
    assert outputs[-1].meta["usage"]["cached_tokens"] == len("user:Hello")
    assert tokens(outputs) == tokens(alone(model, 1, "Hello there", **GREEDY, max_tokens=3))


def test_a_reply_longer_than_the_context_keeps_the_instructions(model: LanguageModel) -> None:
    """Each token after the overflow is what a fresh stream with the kept tokens would say."""
    prompt = [*range(70)]
    outputs = alone(model, 0, prompt, pinned=30, **GREEDY, max_tokens=60)
    said = tokens(outputs)
    assert len(said) == 60
    for count in (26, 27, 40, 59):
        everything = prompt + said[:count]
        dropped = model._window.dropped(len(everything), 30)
        kept = everything[: dropped.start] + everything[dropped.stop :]
        assert kept[:30] == prompt[:30]
        assert len(kept) <= CONTEXT
        assert bool(dropped) == (len(everything) > CONTEXT)
        assert tokens(alone(model, 1, kept, **GREEDY, max_tokens=1)) == [said[count]]


def test_a_prompt_longer_than_the_context(model: LanguageModel) -> None:
    prompt = [token % 200 for token in range(300)]
    outputs = alone(model, 0, prompt, pinned=10, **GREEDY, max_tokens=3)
    dropped = model._window.dropped(300, 10)
    kept = prompt[: dropped.start] + prompt[dropped.stop :]
    assert tokens(outputs) == tokens(alone(model, 1, kept, **GREEDY, max_tokens=3))


@pytest.mark.parametrize("options", [GREEDY, SAMPLED, JSON], ids=["greedy", "sampled", "json"])
@pytest.mark.parametrize("steps", [0, 1, 2, 17, 60, 90])
def test_a_restored_stream_goes_on_as_the_original(model: LanguageModel, options: dict[str, Any], steps: int) -> None:
    prompt = [*range(20)]
    wanted = alone(model, 0, prompt, **options, max_tokens=90, stop=["never said"])
    assert options is not GREEDY or len(wanted) == 91
    model.open(0, {})
    ask(model, 0, prompt, **options, max_tokens=90, stop=["never said"])
    ask(model, 0, "And then?", **options, max_tokens=4)
    before = [output for _ in range(steps) if any(model.pending()) for output in step(model)]
    model.restore(3, model.snapshot(0))
    model.close(0)
    after = finish(model)[3]
    both = [(output.kind, output.meta) for output in before + after if output.meta["number"] == 0]
    assert [(kind, _comparable(meta)) for kind, meta in both] == [
        (output.kind, _comparable(output.meta)) for output in wanted
    ]
    assert [output.meta["number"] for output in before + after][-1] == 1


def _comparable(meta: Any) -> dict[str, Any]:
    return {name: meta[name] for name in ("number", "token", "text", "reason") if name in meta}


def test_json_follows_its_schema(model: LanguageModel) -> None:
    outputs = alone(model, 0, "Which colours?", **JSON)
    colours = json.loads(text(outputs))
    assert len(colours) == 4
    assert set(colours) <= set(COLOURS)
    assert outputs[-1].meta["reason"] == "stop"


def test_json_that_is_cut_short(model: LanguageModel) -> None:
    outputs = alone(model, 0, "Which colours?", **JSON, max_tokens=5)
    assert outputs[-1].meta["reason"] == "length"
    assert text(outputs).startswith('["')


@pytest.mark.parametrize("delivered", [0, 1, 13, 20, 21, 30])
def test_resume_forces_what_was_delivered(model: LanguageModel, delivered: int) -> None:
    """Without a seed the two continuations differ, so what was delivered must be taken over as it is."""
    meta = {"tokens": [1, 2, 3], "max_tokens": 20}
    inputs = [Message("generate", meta=meta), Message("generate", meta=meta)]
    empty = model.snapshot(0)
    for message in inputs:
        model.push(0, message)
    heard = finish(model)[0][:delivered]
    model.resume(3, empty, inputs, heard)
    outputs = heard + finish(model)[3]
    for number in (0, 1):
        reply = [output for output in outputs if output.meta["number"] == number]
        assert [output.kind for output in reply] == ["token"] * (len(reply) - 1) + ["done"]
        assert [output.meta["index"] for output in reply[:-1]] == [*range(len(reply) - 1)]
        usage = reply[-1].meta["usage"]
        assert usage["completion_tokens"] == len(reply) - 1
    assert model._slots[3].history.tokens == [1, 2, 3, *tokens(reply)]


def test_resume_passes_by_what_the_snapshot_knows(model: LanguageModel) -> None:
    ask(model, 0, "Hello", **GREEDY, max_tokens=12)
    ask(model, 0, "Tell me", **GREEDY, max_tokens=12)
    heard = [output for _ in range(20) for output in step(model)]
    middle = model.snapshot(0)
    heard += [output for _ in range(3) for output in step(model)]
    rest = finish(model)[0]
    assert [output.meta["number"] for output in rest] == [1, 1]
    model.resume(3, middle, [], heard)
    assert [_comparable(output.meta) for output in finish(model)[3]] == [_comparable(output.meta) for output in rest]


def test_a_step_that_fails_leaves_the_state_alone(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tokens(alone(model, 0, "Hello", **SAMPLED, max_tokens=6))
    model.open(0, {})
    ask(model, 0, "Hello", **SAMPLED, max_tokens=6)
    outputs = step(model)
    with monkeypatch.context() as patch:
        patch.setattr("models.lm.model.sample", None)
        with pytest.raises(TypeError):
            step(model)
    assert tokens(outputs + finish(model)[0]) == wanted


def test_long_prompts_do_not_stall_replies(model: LanguageModel) -> None:
    """With the real scheduler, a reply in progress never waits for more than two steps in a row."""
    for slot in (0, 1):
        ask(model, slot, "Hi", **GREEDY, max_tokens=60)
    while waiting(model, 0).bucket != DECODE or waiting(model, 1).bucket != DECODE:
        step(model)
    for slot in (2, 3, 4):
        for _ in range(3):
            ask(model, slot, [slot * 7 % 200] * 90, **GREEDY, max_tokens=1)
    scheduler, now, stalls, stall = Scheduler([CAPACITY]), 0.0, [0], 0
    while any(item.slot == 0 for item in model.pending()):
        scheduler.update(((Work(0, item.bucket, item.slot), item.slack_s) for item in model.pending()), now)
        batch = scheduler.next_batch(now)
        assert batch is not None
        model.step(batch.bucket, batch.slots)
        stall = 0 if 0 in batch.slots else stall + 1
        stalls.append(stall)
        now += 0.01
    assert max(stalls) <= 2


def test_prefill_steps_are_bounded(model: LanguageModel) -> None:
    for slot in range(CAPACITY):
        ask(model, slot, [slot] * 50, **GREEDY, max_tokens=2)
    assert {item.bucket for item in model.pending()} == {(PREFILL, 50)}
    step(model)
    assert sum(item.bucket == DECODE for item in model.pending()) == PREFILL_TOKENS // 50


@pytest.mark.parametrize(
    ("meta", "param", "message"),
    [
        ({}, "messages", "either messages or tokens"),
        ({"tokens": [1], "messages": [{"role": "user", "content": ""}]}, "messages", "either"),
        ({"tokens": [100_000]}, "tokens", "below 260"),
        ({"tokens": [1], "stop_tokens": [260]}, "tokens", "below 260"),
        ({"tokens": [1], "temperature": -1}, "temperature", "temperature"),
        ({"tokens": [1], "top_p": 0}, "top_p", "top_p"),
        ({"tokens": [1], "stop": [""]}, "stop[0]", "stop"),
        ({"tokens": [1], "seed": 2**64}, "seed", "seed"),
        ({"tokens": [1], "pinned": 2}, "pinned", "at most the 1 tokens of the prompt"),
        ({"tokens": [1] * 60, "pinned": 50}, "pinned", "and 48 of the context"),
        ({"tokens": [1], "colour": 2}, None, "unknown field `colour`"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "content is missing"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "robot"),
        ({"messages": [{"role": "system", "content": "x" * 90}]}, "messages", "do not fit into 72"),
    ],
)
def test_a_bad_request_fails_alone_and_names_the_field(
    model: LanguageModel, meta: dict[str, Any], param: str | None, message: str
) -> None:
    model.push(0, Message("generate", meta=meta))
    ask(model, 0, "Hello", **GREEDY, max_tokens=2)
    bad, *good = finish(model)[0]
    assert (bad.kind, bad.meta["number"], bad.meta["reason"]) == ("done", 0, "failed")
    assert bad.meta["error"]["param"] == param
    assert message in bad.meta["error"]["message"]
    assert [(output.kind, output.meta["number"]) for output in good] == [("token", 1), ("token", 1), ("done", 1)]


def test_a_failure_waits_for_its_turn(model: LanguageModel) -> None:
    ask(model, 0, "Hello", **GREEDY, max_tokens=2)
    model.push(0, Message("generate"))
    ask(model, 0, "Hello", **GREEDY, max_tokens=1)
    model.restore(1, model.snapshot(0))
    outputs = finish(model)
    for slot in (0, 1):
        reasons = [output.meta["reason"] for output in outputs[slot] if output.kind == "done"]
        assert reasons == ["length", "failed", "length"]


def test_too_many_requests(model: LanguageModel) -> None:
    for _ in range(1 + MAX_REQUESTS):
        ask(model, 0, "Hello")
    with pytest.raises(StreamError, match="can wait") as caught:
        ask(model, 0, "Hello")
    assert caught.value.code == "queue_full"


def test_input_is_consumed_at_once(model: LanguageModel) -> None:
    model.push(0, Message("generate", data=bytes(12), meta={"tokens": [1]}))
    assert model.consumed(0) == 12
