"""Byte-pair tokens of the training texts: `python -m training.asr.subwords TEXTS OUT --vocabulary 256`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.asr.fastconformer.vocabulary import SPACE


def train_subwords(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """BPE (Sennrich et al. 2016) over words that each begin with U+2581."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    alphabet = [SPACE, "'", *map(chr, range(ord("a"), ord("z") + 1))]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _spoken(file: Path) -> Iterator[str]:
    with file.open("rb") as lines:
        for line in lines:
            entry = msgspec.json.decode(line)
            if not entry["heldout"]:
                yield entry["spoken"]


def main(
    texts: Annotated[Path, typer.Argument(help="Texts, as training.asr.texts writes them.", exists=True)],
    out: Annotated[Path, typer.Argument(help="tokenizer.json to write.")],
    vocabulary: Annotated[int, typer.Option(min=64, help="Tokens.")] = 256,
) -> None:
    """Learn the tokens from the texts that are not held out."""
    train_subwords(_spoken(texts), vocabulary).save(str(out))


if __name__ == "__main__":
    typer.run(main)
