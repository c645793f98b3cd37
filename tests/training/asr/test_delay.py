import json
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.asr.fastconformer.model import FastConformerStream
from tests.conftest import DATA
from tests.models.asr.fastconformer.talkative import checkpoint, talkative
from training.asr.delay import Told, delays, follow, main
from training.asr.manifest import Utterance, read_audio
from training.asr.wer import recognise

CLIP = DATA / "sense_0880.wav"
APP = typer.Typer()
APP.command()(main)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pcm = (read_audio(str(CLIP)) * 32_767).astype("<i2").tobytes()
    return checkpoint(talkative(pcm), tmp_path_factory.mktemp("fastconformer") / "small")


def utterance(**fields: object) -> Utterance:
    return Utterance(str(CLIP), len(read_audio(str(CLIP))) / 16_000, "he was not", **fields)  # type: ignore[arg-type]


def test_words_that_were_told_and_those_that_were_not() -> None:
    said = utterance(alignment=[("he", 0.1, 0.3), ("was", 0.3, 0.6), ("not", 0.7, 1.0)])
    told = [Told("he", 0.5), Told("has", 0.8), Told("not", 1.5), Told("so", 2.0)]
    assert delays(said, told) == pytest.approx([0.2, 0.5])
    assert delays(said, []) == []


def test_words_are_told_in_order_and_make_the_text(saved: Path) -> None:
    model = FastConformerStream(saved, 2, max_batch=2)
    one, same = follow(model, [utterance(), utterance()], 80)
    assert one == same
    assert len(one) > 3
    assert all(former.at_s <= latter.at_s for former, latter in pairwise(one))
    assert one[0].at_s < 1.5 < one[-1].at_s
    (final,) = recognise(model, [read_audio(str(CLIP))], 80)
    assert " ".join(told.word for told in one).startswith(final[: len(final) // 2])


def test_the_command_passes_by_what_has_no_times(saved: Path, tmp_path: Path) -> None:
    timed = {"audio_filepath": str(CLIP), "duration": 2.0, "text": "he", "alignment": [["he", 0.0, 0.2]]}
    manifest = tmp_path / "some.jsonl"
    manifest.write_text(f"{json.dumps(timed)}\n{json.dumps(timed | {'alignment': None})}\n")
    result = CliRunner().invoke(APP, [str(saved), str(manifest)])
    assert result.exit_code == 0, result.output
    line = json.loads(result.output.splitlines()[-1])
    assert (line["utterances"], line["words"], line["median_s"]) == (1, 0, None)
