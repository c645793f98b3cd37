"""Speech from sentences: `python -m training.asr.synthesise TEXTS OUT --hours 6 --engines kokoro --processes 2`.

OUT gets `shards/*/*.wav` (16 kHz, 16-bit, mono) and, a JSON line an utterance, `train.jsonl`, `dev.jsonl` or
`heldout.jsonl`. A shard is done when its own manifest is in place; one that was interrupted is made again. The same
arguments make the same corpus. A file OUT/STOP ends a run after the current utterance.
"""

import fcntl
import multiprocessing
import os
import random
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import typer

from models.audio import SAMPLE_RATE_HZ, FloatArray
from training.asr.engines import Alignment, Engine, Kokoro, engine, is_sane
from training.asr.texts import MAX_CHARS, Text
from training.asr.voices import draw_cheap, draw_kokoro

Split = Literal["train", "dev", "heldout"]

WEIGHTS = {"kokoro": 1.0, "flite": 4.0, "festival": 3.0, "espeak": 1.0, "piper": 1.0}
"""Shares of the hours among the engines of a run."""
TEXTS_A_SHARD = 64
STARTS = {"kokoro": 0, "flite": 3, "festival": 4, "espeak": 5, "piper": 6}
"""Where each engine starts in the sentences, in strides: all in the first part, where the sources are balanced."""
STRIDES = {"train": 10_000, "dev": 100, "heldout": 100}
FIRST = {"train": 0, "dev": 700, "heldout": 0}
JOINED = 0.35
"""How often the next sentence is said in the same breath."""
STOP = "STOP"
NICENESS = 10


class Line(msgspec.Struct, frozen=True):
    """An utterance of a manifest; `audio_filepath` is relative to it, `alignment` is [word, start_s, end_s]."""

    audio_filepath: str
    duration: float
    text: str
    voice: str
    engine: str
    split: str
    source: str
    alignment: Alignment | None = None


class Run(NamedTuple):
    """What every process of a run knows."""

    texts: Path
    out: Path
    split: Split
    engines: tuple[str, ...]
    hours: float
    utterances: int | None
    processes: int
    seed: int
    first: int = 0


class Shard(NamedTuple):
    """The shard `number` of an engine in a split."""

    out: Path
    split: Split
    engine: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.engine}-{self.number:06}"

    @property
    def directory(self) -> Path:
        return self.out / "shards" / self.name

    @property
    def manifest(self) -> Path:
        return self.directory / "manifest.jsonl"


def read_texts(file: Path, heldout: bool) -> list[Text]:
    """The sentences of one side of the split, in their order."""
    decoder = msgspec.json.Decoder(Text)
    with file.open("rb") as lines:
        return [text for text in map(decoder.decode, lines) if text.heldout == heldout]


def read_manifest(file: Path) -> list[Line]:
    """The lines of a manifest; none if there is no file."""
    decoder = msgspec.json.Decoder(Line)
    return [decoder.decode(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def gather(out: Path, split: Split) -> list[Line]:
    """Write the manifest of all finished shards anew, atomically, and give its lines."""
    lines = [line for file in sorted(out.glob(f"shards/{split}-*/manifest.jsonl")) for line in read_manifest(file)]
    part = out / f"{split}.jsonl.part"
    part.write_bytes(encode_lines(lines))
    part.replace(out / f"{split}.jsonl")
    return lines


def utterances(texts: list[Text], shard: Shard, seed: int) -> Iterator[tuple[str, str, str, random.Random]]:
    """Written text, spoken text, source and dice of each utterance of a shard.

    An engine goes through the sentences in their order and begins again when it is through; each starts elsewhere.
    """
    start = FIRST[shard.split] + STARTS[shard.engine] * STRIDES[shard.split] + shard.number * TEXTS_A_SHARD
    own = [texts[(start + offset) % len(texts)] for offset in range(TEXTS_A_SHARD)]
    dice = random.Random(f"{seed} {shard.name}")
    while own:
        joined = [own.pop()]
        while own and dice.random() < JOINED and sum(len(text.text) + 2 for text in [*joined, own[-1]]) <= MAX_CHARS:
            joined.append(own.pop())
        written = " ".join(text.text if text.text[-1] in ".?!" else f"{text.text}." for text in joined[:-1])
        yield (
            f"{written} {joined[-1].text}".strip(),
            " ".join(text.spoken for text in joined),
            joined[0].source,
            random.Random(dice.random()),
        )


def make_shard(shard: Shard, speaker: Engine, texts: list[Text], seed: int, limit: int | None) -> list[Line]:
    """Say one shard and put its manifest in place."""
    heldout = shard.split == "heldout"
    jobs = []
    for written, spoken, source, dice in utterances(texts, shard, seed):
        if isinstance(speaker, Kokoro):
            voice = draw_kokoro(speaker.names, heldout, dice)
        else:
            voice = draw_cheap(shard.engine, heldout, dice)
        jobs.append((written, spoken, source, voice))
    shard.directory.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    step = 1 if isinstance(speaker, Kokoro) else len(jobs)
    for first in range(0, len(jobs), step):
        batch = jobs[first : first + step]
        said = speaker.say([(written, voice) for written, _, _, voice in batch])
        for (_, spoken, source, voice), speech in zip(batch, said, strict=True):
            if speech and is_sane(speech, len(spoken.split())) and (limit is None or len(lines) < limit):
                file = shard.directory / f"{len(lines):04}.wav"
                write_wav(file, speech.audio)
                lines.append(
                    Line(
                        str(file.relative_to(shard.out)),
                        round(len(speech.audio) / SAMPLE_RATE_HZ, 4),
                        spoken,
                        voice.label,
                        shard.engine,
                        shard.split,
                        source,
                        speech.alignment,
                    )
                )
        if (shard.out / STOP).exists() or (limit is not None and len(lines) >= limit):
            break
    part = shard.manifest.with_suffix(".part")
    part.write_bytes(encode_lines(lines))
    part.replace(shard.manifest)
    _append(shard.out / f"{shard.split}.jsonl", lines)
    return lines


def write_wav(file: Path, audio: FloatArray) -> None:
    """16 kHz, 16-bit, mono."""
    with wave.open(str(file), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLE_RATE_HZ)
        recording.writeframes((np.clip(audio, -1, 1) * 32_767).astype("<i2").tobytes())


def work(run: Run, process: int) -> None:
    """Make each shard whose number from `first` on is `process` modulo the number of processes, until the share of the
    hours is full.

    The engine that lags most behind its weight comes next.
    """
    texts = read_texts(run.texts, run.split != "train")
    speakers = {name: engine(name, run.out) for name in run.engines}
    seconds = dict.fromkeys(run.engines, 0.0)
    numbers = dict.fromkeys(run.engines, run.first + process)
    made = 0
    while not (run.out / STOP).exists():
        if sum(seconds.values()) >= run.hours * 3600 / run.processes or made == run.utterances:
            return
        name = min(run.engines, key=lambda name: seconds[name] / WEIGHTS[name])
        shard = Shard(run.out, run.split, name, numbers[name])
        numbers[name] += run.processes
        lines = read_manifest(shard.manifest)
        if not shard.manifest.exists():
            started = time.monotonic()
            limit = None if run.utterances is None else run.utterances - made
            lines = make_shard(shard, speakers[name], texts, run.seed, limit)
            spent, long = time.monotonic() - started, sum(line.duration for line in lines)
            total = sum(seconds.values()) + long
            typer.echo(
                f"{shard.name}: {len(lines)} utterances, {long:.0f} s at {long / spent:.1f} x real time; "
                f"{total / 3600:.2f} h in this process"
            )
        seconds[name] += sum(line.duration for line in lines)
        made += len(lines)


def _work_nicely(run: Run, process: int) -> None:
    os.nice(max(0, NICENESS - os.nice(0)))
    work(run, process)


def main(
    texts: Annotated[Path, typer.Argument(help="What training.asr.texts wrote.")],
    out: Annotated[Path, typer.Argument(help="The corpus's directory.")],
    hours: Annotated[float, typer.Option(help="Of these engines in this split, those already made included.")],
    engines: Annotated[str, typer.Option(help="Names with commas between.")] = "kokoro",
    split: Annotated[str, typer.Option(help="train, dev (held-out texts) or heldout (held-out voices too).")] = "train",
    utterances: Annotated[int | None, typer.Option(help="At most so many; wants one process.")] = None,
    processes: int = 2,
    seed: int = 1,
    first: Annotated[int, typer.Option(help="Shard to begin with: later ones say other sentences.")] = 0,
) -> None:
    """Add speech to a corpus until it has as many hours of these engines as asked for."""
    run = Run(
        texts, out, msgspec.convert(split, Split), tuple(engines.split(",")), hours, utterances, processes, seed, first
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    gather(out, run.split)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work_nicely, args=(run, number)) for number in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = gather(out, run.split)
    typer.echo(f"{run.split}: {len(lines)} utterances, {sum(line.duration for line in lines) / 3600:.2f} h")


def _append(manifest: Path, lines: list[Line]) -> None:
    with manifest.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(encode_lines(lines))


def encode_lines(lines: list[Line]) -> bytes:
    """A manifest of these lines."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


if __name__ == "__main__":
    typer.run(main)
