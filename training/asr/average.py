"""The mean of checkpoints of one kind: `python -m training.asr.average CHECKPOINT... --out DIR`.

Weights half-way between a checkpoint and what further training made of it misread less than either (WiSE-FT,
arXiv 2109.01903).
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from models.asr.fastconformer.checkpoint import load, save


def main(
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", exists=True, help="Directories.")],
    out: Annotated[Path, typer.Option(help="Where the mean goes.")],
) -> None:
    """Write the mean of all weights, with the first checkpoint's tokens."""
    first, *others = map(load, checkpoints)
    states = [loaded.network.state_dict() for loaded in (first, *others)]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    first.network.load_state_dict(mean)
    save(out, first.network, first.vocabulary)


if __name__ == "__main__":
    typer.run(main)
