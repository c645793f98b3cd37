import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import DATA
from tests.e2e.speech import REFERENCE
from training.asr.manifest import read_audio
from training.asr.wer import main

APP = typer.Typer()
APP.command()(main)


@pytest.mark.parametrize(("name", "most"), [("whisper-base", 10), ("fastconformer-small", 60)])
def test_words_that_differ_are_counted_by_engine(
    checkpoint: Callable[[str], Path], tmp_path: Path, name: str, most: float
) -> None:
    """Of a clip, and of the same clip with words that nobody said."""
    seconds = len(read_audio(str(DATA / "question.wav"))) / 16_000
    line = {"audio_filepath": str(DATA / "question.wav"), "duration": seconds, "text": REFERENCE["question"]}
    others = line | {"text": "words that nobody would ever say here", "engine": "others"}
    manifest = tmp_path / "some.jsonl"
    manifest.write_text(f"{json.dumps(line | {'engine': 'right'})}\n{json.dumps(others)}\n")
    result = CliRunner().invoke(APP, [str(checkpoint(name)), str(manifest)])
    assert result.exit_code == 0, result.output
    wer = json.loads(result.output.splitlines()[-1])["wer"]
    assert wer["right"] <= most
    assert wer["others"] >= 90
    assert wer["all"] == pytest.approx((wer["right"] + wer["others"]) / 2, abs=0.1)
