"""Collects the English sentences that synthetic speech says: `python -m training.asr.texts OUT`.

OUT is JSON lines, each a `Text`, in an order of which every beginning has the same balance of sources.
"""

import hashlib
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.tts.normalise import normalise
from models.tts.phonemes import MARKS
from training.asr import sources
from training.asr.everyday import everyday

MAX_WORDS = 25
MAX_CHARS = 170
HELD_OUT_PER_MILLE = 15
SEED = 1
EVERYDAY_SENTENCES = 60_000

SHARES: dict[str, tuple[float, Callable[[], Iterable[str]]]] = {
    "everyday": (18, lambda: everyday(EVERYDAY_SENTENCES, SEED)),
    "wordnet-examples": (20, sources.wordnet_examples),
    "wordnet-glosses": (6, sources.wordnet_glosses),
    "gcide-definitions": (3, sources.gcide_definitions),
    "gcide-quotations": (4, sources.gcide_quotations),
    "foldoc": (3, sources.foldoc),
    "jargon": (3, sources.jargon),
    "bible": (2, sources.bible),
    "fortunes": (14, sources.fortunes),
    "anarchism": (7, sources.anarchism),
    "dasher": (2, sources.dasher),
    "wesnoth": (12, sources.wesnoth),
    "manuals": (6, sources.manuals),
}
"""Each source with its share of the sentences, as long as it lasts."""

_TARGET = re.compile(r"[a-z']+(?: [a-z']+)*")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?|'[a-z]+")
_FOLDED = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "æ": "ae", "œ": "oe", "\u00ad": ""})
_STRANGE = re.compile(r"[^A-Za-z0-9 .,;:!?'\"$£%&()-]|\.\.|\w[:;]\w|--|[a-z][A-Z]|\b\d{10,}")
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")


class Text(msgspec.Struct, frozen=True):
    """`text` as it is written, `spoken` as it is said and transcribed: a-z, apostrophes and spaces."""

    text: str
    spoken: str
    source: str
    heldout: bool


def spoken(text: str) -> str | None:
    """What a voice says of `text`, as transcripts write it; None if that is not letters only."""
    words = " ".join(piece.spoken for piece in normalise(text) if piece.spoken not in MARKS).lower()
    target = " ".join(words.replace("’", "'").split())
    return target if _TARGET.fullmatch(target) and all(map(_WORD.fullmatch, target.split())) else None


def is_held_out(target: str) -> bool:
    """Whether a sentence is kept from training; depends on nothing but its words."""
    return int.from_bytes(hashlib.sha256(target.encode()).digest()[:4]) % 1000 < HELD_OUT_PER_MILLE


def clean(raw: str) -> str | None:
    """`raw` as a sentence in ASCII; None if it is not prose of a sane length."""
    folded = unicodedata.normalize("NFKD", " ".join(raw.split()).translate(_FOLDED))
    text = "".join(letter for letter in folded if not unicodedata.combining(letter)).strip(" -;:,")
    text = re.sub(r" (?=[.,;:?!])", "", text)
    if text.count('"') % 2:
        text = text.replace('"', "")
    if not 2 <= len(text) <= MAX_CHARS or _STRANGE.search(text) or len(_CAPITALS.findall(text)) > 1:
        return None
    if text.count("(") != text.count(")") or (text.islower() and text.endswith(".")):
        return None
    return text[0].upper() + text[1:]


def collect(source: str, raws: Iterable[str]) -> Iterator[Text]:
    """The sentences of one source that can be said and transcribed."""
    for raw in raws:
        text = clean(raw)
        target = spoken(text) if text else None
        if text and target and len(target.split()) <= MAX_WORDS and max(map(len, target.split())) < 20:
            yield Text(text, target, source, is_held_out(target))


def mix(pools: dict[str, list[Text]], shares: dict[str, float], seed: int) -> Iterator[Text]:
    """All texts of all pools, every beginning with the shares as far as the pools last."""
    dice = random.Random(seed)
    arrivals = []
    for source, pool in pools.items():
        dice.shuffle(pool)
        arrivals += [((place + dice.random()) / shares[source], text) for place, text in enumerate(pool)]
    yield from (text for _, text in sorted(arrivals, key=lambda arrival: arrival[0]))


def main(
    out: Annotated[Path, typer.Argument(help="JSON lines to write.")],
    extra: Annotated[list[Path] | None, typer.Option(help="More sentences, one a line, e.g. a model's.")] = None,
    extra_share: Annotated[float, typer.Option(help="Their share, where all others add up to 100.")] = 20.0,
) -> None:
    """Collect sentences from the installed packages and OUT them in a balanced order."""
    readers = dict(SHARES)
    for file in extra or []:
        readers[file.stem] = (extra_share, file.read_text().splitlines)
    seen: set[str] = set()
    pools: dict[str, list[Text]] = {}
    for source, (_, read) in readers.items():
        unique = {text.spoken: text for text in collect(source, read()) if text.spoken not in seen}
        seen.update(unique)
        pools[source] = list(unique.values())
        typer.echo(f"{source}: {len(unique)} sentences")
    texts = list(mix(pools, {source: share for source, (share, _) in readers.items()}, SEED))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(b"".join(msgspec.json.encode(text) + b"\n" for text in texts))
    words = Counter(word for text in texts for word in text.spoken.split())
    typer.echo(f"{len(texts)} sentences, {len(words)} different words, {sum(text.heldout for text in texts)} held out")


if __name__ == "__main__":
    typer.run(main)
