"""A FastConformer from manifests: `python -m training.asr.train RECIPE MANIFEST... --tokenizer FILE --out DIR`.

DIR gets `model.safetensors`, `config.json` and `tokenizer.json`, which Millstream serves, and `resume.pt`, from which
the same command goes on. `MANIFEST` may grow meanwhile.
"""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer
from tokenizers import Tokenizer
from torch import nn
from torch.utils.data import DataLoader

from models.asr.fastconformer.block import Block
from models.asr.fastconformer.checkpoint import load, save
from models.asr.fastconformer.config import Config
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.vocabulary import TokenizersVocabulary, Vocabulary
from training.asr.batches import Batch, Batches
from training.asr.losses import learning_rate, losses
from training.asr.recipe import Recipe, read_recipe
from training.asr.replicas import average, join

RESUME = "resume.pt"
_PREFETCHED_BATCHES = 6
_MEL_CONTRAST = 1.5
"""Deviation of log-mels of speech from those beside them."""


class Run:
    """A network, its optimiser and how far they are."""

    def __init__(self, recipe: Recipe, out: Path, network: FastConformer) -> None:
        self.recipe, self.out, self.network, self.step, self.audio_s = recipe, out, network, 0, 0.0
        how = recipe.optimisation
        decayed = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": how.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=how.learning_rate, betas=(0.9, 0.98), fused=True)
        self._odds = torch.tensor(recipe.lookahead_odds or [1.0] * len(recipe.encoder.lookaheads))

    def advance(self, batch: Batch, steps: int) -> dict[str, float]:
        """One step of `steps`; the losses before it."""
        how = self.recipe.optimisation
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.step, steps, how)
        lookahead = self.recipe.encoder.lookaheads[int(torch.multinomial(self._odds, 1))]
        parts = losses(self.network, batch, lookahead, how, self.step)
        self._optimiser.zero_grad()
        parts["total"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), how.clip_norm)
        if norm.isfinite():
            self._optimiser.step()
        self.step += 1
        self.audio_s += float(batch.frames.sum()) / 100
        return {name: float(value.detach()) for name, value in parts.items()} | {"norm": float(norm)}

    def save(self, vocabulary: Vocabulary) -> None:
        """Write the checkpoint and what resuming needs, each in one move."""
        save(self.out, self.network, vocabulary)
        state = {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "audio_s": self.audio_s,
        }
        torch.save(state, self.out / f"{RESUME}.new")
        (self.out / f"{RESUME}.new").replace(self.out / RESUME)

    def resume(self) -> None:
        """Go on where `save` left off."""
        state = torch.load(self.out / RESUME, weights_only=True)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.audio_s = state["step"], state["audio_s"]


def new_network(config: Config, dropout: float) -> FastConformer:
    """Random weights. What reaches the blocks has about unit variance (He et al. 2015), whatever the loudness, and each
    block begins by passing it on (Goyal et al. 2017, section 5.1): from torch's own initial weights nothing is learnt
    for thousands of steps.
    """
    network = FastConformer(config, dropout).train()
    subsampling = network.encoder.pre_encode
    for layer in (*subsampling.conv, subsampling.out):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            follows_relu = isinstance(layer, nn.Linear) or layer.groups > 1
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if follows_relu else "relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    first = subsampling.conv[0]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight -= first.weight.mean((1, 2, 3), keepdim=True)
        first.weight /= _MEL_CONTRAST
    for block in network.encoder.layers:
        assert isinstance(block, Block)
        ends = block.feed_forward1.linear2, block.self_attn.linear_out, block.conv.pointwise_conv2
        for layer in (*ends, block.feed_forward2.linear2):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def main(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", exists=True, help="TOML, such as small.toml.")],
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", exists=True, help="JSON lines.")],
    tokenizer: Annotated[Path, typer.Option(exists=True, help="tokenizer.json of training.asr.subwords.")],
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")],
    steps: Annotated[int, typer.Option(min=1, help="All steps of the run, those before resuming included.")] = 20_000,
    start: Annotated[Path | None, typer.Option(exists=True, help="A checkpoint to begin with.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the network.")] = 2,
    save_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 250,
    average_every: Annotated[int, typer.Option(min=1, help="Steps, if torchrun runs several processes.")] = 250,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train."""
    torch.set_num_threads(threads)
    recipe = read_recipe(recipe_file)
    vocabulary = TokenizersVocabulary(Tokenizer.from_file(str(tokenizer)))
    config = Config(len(vocabulary), recipe.encoder, recipe.frontend, rnnt=recipe.rnnt)
    torch.manual_seed(seed)
    run = Run(recipe, out, new_network(config, recipe.optimisation.dropout))
    if (out / RESUME).exists():
        run.resume()
    elif start is not None:
        run.network.load_state_dict(load(start).network.state_dict())
    torch.manual_seed(seed + run.step)
    replica = join()
    batches = Batches(manifests, recipe, vocabulary, seed * replica.processes + replica.rank, run.step)
    loader = DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=_PREFETCHED_BATCHES)
    began, heard = time.monotonic(), run.audio_s
    for batch in loader:
        parts = run.advance(batch, steps)
        pace = (run.audio_s - heard) / (time.monotonic() - began)
        line = {"step": run.step, "hours": run.audio_s / 3600, "pace": pace, **parts}
        if replica.is_first:
            print(msgspec.json.encode({k: round(v, 4) for k, v in line.items()}).decode(), flush=True)
        if run.step % average_every == 0 or run.step >= steps:
            average(run.network, replica)
        if replica.is_first and (run.step % save_every == 0 or run.step >= steps):
            run.save(vocabulary)
        if run.step >= steps:
            return


if __name__ == "__main__":
    typer.run(main)
