"""The service `listen`: which recognisers it is made of, and two that work together over a real Valkey."""

import asyncio
import shutil
import wave
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from models.asr.fastconformer.checkpoint import CheckpointError
from models.catalog import CatalogError
from tests.conftest import DATA
from tests.models.asr.fastconformer.talkative import catalogue, checkpoint, talkative
from tests.workers.harness import SLACK_S, Heard, gateway, running
from workers.broker.envelope import Envelope
from workers.services import listen
from workers.settings import WorkerSettings
from workers.worker import Worker

NAME = "sense_0880"


def speech() -> bytes:
    with wave.open(str(DATA / f"{NAME}.wav")) as file:
        return bytes(file.readframes(file.getnframes()))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, a small FastConformer, and `other`, which is no recogniser."""
    directory = tmp_path_factory.mktemp("checkpoints")
    tiny = checkpoint(talkative(speech()), directory / "tiny")
    shutil.copytree(tiny, directory / "other")
    (directory / "other" / "config.json").write_text('{"model_type": "bert"}')
    return catalogue(directory / "catalog.toml", tiny=tiny, other=directory / "other")


def settings(catalog: Path, **given: Any) -> WorkerSettings:
    return WorkerSettings(**{"slots": 2, "catalog": catalog, **given})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"asr_model": "whisper-base"}, ["whisper"]),
        ({"asr_model": "whisper-base", "asr_final_model": "tiny"}, ["whisper"]),
        ({"asr_model": "tiny"}, ["fastconformer", "whisper"]),
        ({"asr_model": "tiny", "asr_final_model": ""}, ["fastconformer"]),
        ({"asr_model": "tiny", "asr_final_model": None}, ["fastconformer"]),
        ({"asr_model": "tiny", "asr_final_model": "tiny"}, ["fastconformer", "fastconformer"]),
    ],
)
def test_which_recognisers_there_are(catalog: Path, given: dict[str, Any], names: list[str]) -> None:
    detectors, *recognisers = listen(settings(catalog, **given)).lanes
    assert [model.name for model in detectors] == ["silero-vad", "smart-turn"]
    assert [[model.name for model in lane] for lane in recognisers] == [[name] for name in names]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"asr_model": "nothing"}, CatalogError, "unknown checkpoint 'nothing'"),
        ({"asr_model": "other"}, CheckpointError, "bert"),
        ({"asr_model": "tiny", "asr_final_model": "other"}, CheckpointError, "bert"),
    ],
)
def test_what_cannot_be_served(catalog: Path, given: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        listen(settings(catalog, **given))


@pytest.mark.parametrize("language", [None, "en", "de"])
async def test_words_form_in_one_and_are_final_in_the_other(redis: Redis, catalog: Path, language: str | None) -> None:
    """What the streaming recogniser does not know, the other one hears while it is said too."""
    pcm = speech()
    worker = Worker(listen(settings(catalog, asr_model="tiny")), redis)
    async with running(worker.run()), gateway(redis) as client:
        heard = Heard()
        stream = await client.open("listen", {}, heard)
        options: dict[str, Any] = {
            "segment": 1,
            "language": language,
            "prompt": None,
            "phrases": [],
            "lookahead_ms": 80,
        }
        stream.push("follow", meta=options, slack_s=SLACK_S)
        for start in range(0, len(pcm), 3_200):
            stream.push("audio", pts=start // 2, data=pcm[start : start + 3_200], slack_s=SLACK_S)
            await asyncio.sleep(0.05)
        wanted = {**options, "start": 0, "words": True}
        stream.push("transcribe", pts=len(pcm) // 2, meta=wanted, slack_s=SLACK_S)
        outputs: list[Envelope] = []
        while not outputs or outputs[-1].kind != "final":
            outputs.append(await heard.next())
        stream.close()
    partials = [output for output in outputs if output.kind == "partial"]
    assert {output.kind for output in outputs} >= {"vad", "final"}
    assert all(("blank" in output.meta) == (language != "de") for output in partials)
    if language != "de":
        assert partials
        assert "young man" in outputs[-1].meta["text"]
        assert outputs[-1].meta["words"]
