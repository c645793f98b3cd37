"""Recorded human speech with transcripts, for evaluation only: `python -m training.asr.evaluation OUT`.

apt-get install --no-install-recommends pocketsphinx-testdata asterisk-core-sounds-en-g722

OUT gets `human/*.wav` and `human.jsonl`, in the form of the synthetic manifests. Nothing here may be trained on.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from models.audio import SAMPLE_RATE_HZ
from training.asr.audio import decode
from training.asr.synthesise import Line, encode_lines, write_wav
from training.asr.texts import spoken

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PROMPT_TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")

MIN_WORDS = 2
MAX_SECONDS = 30.0
_SECONDS_A_WORD = (0.15, 1.2)
_NOT_SAID = re.compile(r"[\[\]<>(){}]")


def transcribed_clips() -> Iterator[tuple[str, Path, str]]:
    """Name, file and transcript of each of LibriVox's readings."""
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        if match := re.fullmatch(r"<s> (.*) </s> \((.*)\)", line.strip()):
            yield f"librivox-{match[2]}", LIBRIVOX / f"{match[2]}.wav", match[1]


def transcribed_prompts() -> Iterator[tuple[str, Path, str]]:
    """Name, file and transcript of each telephone prompt that says words."""
    for line in gzip.decompress(PROMPT_TEXTS.read_bytes()).decode("utf-8", "replace").splitlines():
        name, _, text = line.partition(": ")
        file = PROMPTS / f"{name}.g722"
        if not name.startswith(";") and file.exists() and not _NOT_SAID.search(text):
            yield f"asterisk-{name.replace('/', '-')}", file, text


def main(out: Annotated[Path, typer.Argument(help="The corpus's directory.")]) -> None:
    """Decode what the installed packages hold and list it with normalised transcripts."""
    (out / "human").mkdir(parents=True, exist_ok=True)
    lines = []
    for name, file, transcript in [*transcribed_clips(), *transcribed_prompts()]:
        text = spoken(transcript)
        if not text or len(text.split()) < MIN_WORDS:
            continue
        audio = decode(file)
        seconds = len(audio) / SAMPLE_RATE_HZ
        least, most = (bound * len(text.split()) for bound in _SECONDS_A_WORD)
        if not least < seconds < min(most + 1, MAX_SECONDS):
            continue
        target, source = out / "human" / f"{name}.wav", name.partition("-")[0]
        write_wav(target, audio)
        lines.append(Line(str(target.relative_to(out)), round(seconds, 4), text, source, "human", "human", source))
    part = out / "human.jsonl.part"
    part.write_bytes(encode_lines(lines))
    part.replace(out / "human.jsonl")
    typer.echo(f"{len(lines)} recordings, {sum(line.duration for line in lines) / 60:.1f} minutes")


if __name__ == "__main__":
    typer.run(main)
