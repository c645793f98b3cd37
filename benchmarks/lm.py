"""The language model against transformers: the same SmolLM2 weights, dtype and threads, in turn, greedily.

Both generate through their public interface (`LanguageModel`, `generate`), prefill included.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from app.settings import Settings
from benchmarks.report import arguments, configuration, report
from models.base import Message, Output
from models.catalog import ensure
from models.linear import smallest_dtype
from models.lm import weights
from models.lm.config import DecoderConfig
from models.lm.conversion import huggingface_form
from models.lm.model import LanguageModel
from workers.scheduler import Scheduler, Work

CHECKPOINT = "smollm2-135m-instruct"
BATCH = 16
CONTEXT = 2048
LONG_PROMPT_TOKENS = 1500
TOPICS = (
    "river castle robot garden violin desert pirate winter mountain island dragon kitchen rocket forest mirror storm"
)
DTYPE = smallest_dtype()
THREADS = 1
"""As a worker of the CPU profile."""

Generate = Callable[[Sequence[list[int]], int], int]
"""Generates for prompts at most so many tokens each; returns the number of tokens."""


def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    tokens, rounds = (64, 2) if quick else (192, 5)
    torch.set_num_threads(THREADS)
    directory = ensure(CHECKPOINT, Settings().cache_dir)
    ours = LanguageModel(directory, BATCH, CONTEXT, dtype=DTYPE)
    config, tensors = weights.load(huggingface_form(directory), DTYPE)
    theirs = _transformers(config, tensors)
    configuration(
        model=CHECKPOINT,
        dtype=str(DTYPE),
        threads=THREADS,
        new_tokens=tokens,
        rounds=rounds,
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    questions = [f"Write a long story about a {topic}." for topic in TOPICS.split()]
    texts = [ours.tokenizer.render([{"role": "user", "content": question}]) for question in questions]
    prompts = [ours.tokenizer.encode(text) for text in texts]
    for batch in (1, BATCH):
        _compare(prompts[:batch], tokens, rounds, _ours(ours), _theirs(theirs))
    _stall(ours, prompts[1:])


def _compare(prompts: Sequence[list[int]], tokens: int, rounds: int, ours: Generate, theirs: Generate) -> None:
    for generate in (ours, theirs):
        generate(prompts, 8)
    rates = [(_rate(ours, prompts, tokens), _rate(theirs, prompts, tokens)) for _ in range(rounds)]
    report(
        f"lm.batch{len(prompts)}",
        median(our_rate / their_rate for our_rate, their_rate in rates),
        "x",
        peer="transformers generate",
        tokens_per_s=round(median(our_rate for our_rate, _ in rates), 1),
        peer_tokens_per_s=round(median(their_rate for _, their_rate in rates), 1),
    )


def _rate(generate: Generate, prompts: Sequence[list[int]], tokens: int) -> float:
    """Tokens per second."""
    started = time.perf_counter()
    count = generate(prompts, tokens)
    return count / (time.perf_counter() - started)


def _ours(model: LanguageModel) -> Generate:
    def generate(prompts: Sequence[list[int]], tokens: int) -> int:
        for slot, prompt in enumerate(prompts):
            model.open(slot, {})
            model.push(slot, _request(prompt, tokens))
        scheduler, count = Scheduler([model.max_batch]), 0
        while any(model.pending()):
            _, outputs = _step(model, scheduler)
            count += sum(output.kind == "token" for output in outputs)
        return count

    return generate


def _request(prompt: list[int], tokens: int) -> Message:
    return Message("generate", meta={"tokens": prompt, "temperature": 0.0, "max_tokens": tokens})


def _transformers(config: DecoderConfig, tensors: weights.Weights) -> Any:
    """The same network with the same weights."""
    sizes: dict[str, Any] = {
        "vocab_size": config.vocab,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.rms_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
    }
    model: Any = LlamaForCausalLM(LlamaConfig(**sizes, dtype=DTYPE))
    model.to(DTYPE)
    missing, surplus = model.load_state_dict(tensors, strict=False)
    assert not surplus
    assert missing == ["lm_head.weight"]
    model.tie_weights()
    return model.eval()


def _theirs(model: Any) -> Generate:
    def generate(prompts: Sequence[list[int]], tokens: int) -> int:
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        with torch.inference_mode():
            result = model.generate(
                torch.tensor(padded),
                attention_mask=torch.tensor(seen),
                do_sample=False,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=0,
                eos_token_id=2,
            )
        return int(result[:, longest:].numel())

    return generate


def _stall(model: LanguageModel, prompts: Sequence[list[int]]) -> None:
    """How many steps in a row pass by a reply in progress while a long prompt is prefilled beside it."""
    scheduler = Scheduler([model.max_batch])
    for slot, prompt in enumerate(prompts, start=1):
        model.open(slot, {})
        model.push(slot, _request(prompt, 64))
    model.open(0, {})
    while not all(item.bucket == ("decode",) for item in model.pending()):
        _step(model, scheduler)
    long = (prompts[0] * LONG_PROMPT_TOKENS)[:LONG_PROMPT_TOKENS]
    model.push(0, _request(long, 1))
    stall, worst, steps = 0, 0, 0
    while any(item.slot == 0 for item in model.pending()):
        slots, _ = _step(model, scheduler)
        stall = 0 if 1 in slots else stall + 1
        worst, steps = max(worst, stall), steps + 1
    report("lm.prefill_stall_steps", worst, "steps", prompt_tokens=LONG_PROMPT_TOKENS, steps=steps)


def _step(model: LanguageModel, scheduler: Scheduler) -> tuple[tuple[int, ...], list[Output]]:
    """One step as the engine would run it: its slots and outputs."""
    work = [(Work(0, item.bucket, item.slot), item.slack_s) for item in model.pending()]
    scheduler.update(work, time.monotonic())
    batch = scheduler.next_batch(time.monotonic())
    assert batch is not None
    return batch.slots, model.step(batch.bucket, batch.slots)


if __name__ == "__main__":
    main()
