import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.base import Message, Output, StreamError
from models.diffusion.model import StreamDiffusion
from models.diffusion.options import MAX_FRAME_BYTES
from tests.models.diffusion.checkpoints import SIZE

CAPACITY = 3
ONE_STAGE = {"t_indices": [35], "guidance": "none"}


@pytest.fixture(scope="module")
def loaded(saved: Path) -> StreamDiffusion:
    return StreamDiffusion(saved, CAPACITY, height=SIZE, width=SIZE)


@pytest.fixture
def model(loaded: StreamDiffusion) -> StreamDiffusion:
    for slot in range(CAPACITY):
        loaded.close(slot)
    return loaded


def options(prompt: str = "a cat", **others: Any) -> dict[str, Any]:
    return {"prompt": prompt, "denoising": ONE_STAGE} | others


def picture(seed: int, size: tuple[int, int] = (SIZE, SIZE), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def show(model: StreamDiffusion, slot: int, pts: int, data: bytes | None = None) -> None:
    model.push(slot, Message("frame", pts, picture(pts) if data is None else data, slack_s=0.1))


def drain(model: StreamDiffusion) -> list[Output]:
    outputs: list[Output] = []
    while slots := [pending.slot for pending in model.pending()]:
        outputs += model.step("frame", slots)
    return outputs


def pixels(output: Output) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(output.data)), np.int16)


def test_frames_come_out_restyled_in_order(model: StreamDiffusion) -> None:
    model.open(0, options(denoising={"t_indices": [20, 30, 45], "guidance": "self"}))
    outputs = []
    for pts in range(0, 500, 100):
        show(model, 0, pts)
        outputs.append(drain(model))
    told = [(output.kind, output.pts) for (output,) in outputs]
    assert told == [("held", 0), ("held", 100), ("frame", 0), ("frame", 100), ("frame", 200)]
    model.flush(0)
    *last, done = drain(model)
    assert [output.pts for output in last] == [300, 400]
    assert (done.kind, done.meta) == ("done", {"dropped": 0})
    frames = [output for (output,) in outputs[2:]] + last
    assert {(output.kind, output.slot, output.meta["dropped"]) for output in frames} == {("frame", 0, 0)}
    assert {pixels(output).shape for output in frames} == {(SIZE, SIZE, 3)}
    assert len({output.data for output in frames}) == 5


def test_sessions_share_a_step_and_nothing_else(model: StreamDiffusion) -> None:
    prompts = ["a cat", "a dog", "a boat"]
    alone = []
    for slot, prompt in enumerate(prompts):
        model.open(slot, options(prompt))
        show(model, slot, slot)
        alone += drain(model)
        model.close(slot)
    for slot, prompt in enumerate(prompts):
        model.open(slot, options(prompt))
        show(model, slot, slot)
    together = model.step("frame", [0, 1, 2])
    assert [output.slot for output in together] == [0, 1, 2]
    for mine, theirs in zip(together, alone, strict=True):
        assert np.abs(pixels(mine) - pixels(theirs)).mean() < 0.1  # an ulp may change how JPEG rounds
    assert np.abs(pixels(alone[0]) - pixels(alone[1])).mean() > 1


def test_the_latest_frame_wins_and_drops_are_told(model: StreamDiffusion) -> None:
    model.open(0, options())
    for pts in range(1_000):
        show(model, 0, pts, picture(0))
    (output,) = drain(model)
    assert (output.pts, output.meta["dropped"]) == (999, 999)
    model.push(0, Message("frame", 1_003, picture(0), {"dropped": 3}))
    assert drain(model)[0].meta["dropped"] == 3


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "must be one of JPEG, WEBP, PNG"),
        (b"GIF89a" + bytes(50), "must be one of JPEG, WEBP, PNG"),
        (picture(0, kind="JPEG")[:-900], "cannot be read"),
        (picture(0, (8_193, 1)), "8193x1"),
    ],
)
def test_what_is_no_picture_is_told_and_nothing_else_happens(model: StreamDiffusion, data: bytes, told: str) -> None:
    model.open(0, options())
    model.open(1, options())
    show(model, 0, 5, data)
    show(model, 1, 6)
    unreadable, frame = sorted(drain(model), key=lambda output: output.slot)
    assert (unreadable.kind, unreadable.pts) == ("unreadable", 5)
    assert told in unreadable.meta["message"]
    assert (frame.kind, frame.pts) == ("frame", 6)
    show(model, 0, 7)
    assert [output.kind for output in drain(model)] == ["frame"]


@pytest.mark.parametrize("size", [(1, 1), (7_680, 4_320), (300, 40)])
def test_any_shape_is_fitted(model: StreamDiffusion, size: tuple[int, int]) -> None:
    flat = io.BytesIO()
    Image.new("RGB", size, "red").save(flat, "JPEG")
    for fit in "cover", "contain", "stretch":
        model.open(0, options(fit=fit))
        show(model, 0, 1, flat.getvalue())
        (output,) = drain(model)
        assert pixels(output).shape == (SIZE, SIZE, 3)


def test_a_new_prompt_is_painted_at_once_or_over_some_frames(model: StreamDiffusion) -> None:
    def paint(pts: int) -> np.ndarray:
        show(model, 0, pts, picture(3))
        (output,) = drain(model)
        return pixels(output)

    model.open(0, options("zzzz zzzz"))
    former = paint(0)
    model.push(0, Message("restyle", meta={"prompt": "a"}))
    latter = paint(1)
    assert np.abs(former - latter).max() > 5
    model.push(0, Message("restyle", meta={"prompt": "zzzz zzzz", "over_frames": 3}))
    way = [paint(pts) for pts in range(2, 6)]
    distances = [np.abs(image - former).mean() for image in [latter, *way]]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.1 < distances[-2]


def test_a_still_scene_is_painted_now_and_then(model: StreamDiffusion) -> None:
    model.open(0, options(filter={"threshold": 0.98, "max_skipped": 4}))
    kinds = []
    for pts in range(11):
        show(model, 0, pts, picture(0))
        kinds += [output.kind for output in drain(model)]
    assert kinds == (["frame"] + ["same"] * 4) * 2 + ["frame"]
    show(model, 0, 20, picture(1))
    assert [output.kind for output in drain(model)] == ["frame"]


def test_a_snapshot_goes_on_elsewhere(model: StreamDiffusion) -> None:
    model.open(0, options(denoising={"t_indices": [20, 30, 45]}))
    for pts in range(2):
        show(model, 0, pts)
        drain(model)
    saved = model.snapshot(0)
    show(model, 0, 2)
    (expected,) = drain(model)
    model.restore(2, saved)
    show(model, 2, 2)
    (got,) = drain(model)
    assert (got.pts, got.data) == (expected.pts, expected.data)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": "x" * 10_000}, "prompt"),
        ({"prompt": [{"prompt": "x", "weight": 0}]}, "weight"),
        ({"denoising": {"t_indices": [50]}}, "t_indices"),
        ({"denoising": {"t_indices": [30, 20]}}, "`t_indices` must rise"),
        ({"denoising": {"t_indices": [0, 1, 2, 3, 4]}}, "t_indices"),
        ({"denoising": {"guidance": "much"}}, "guidance"),
        ({"filter": {"threshold": 1.5}}, "threshold"),
        ({"fit": "crop"}, "fit"),
        ({"loudness": 3}, "loudness"),
    ],
)
def test_bad_options_name_the_field(model: StreamDiffusion, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(StreamError, match=told):
        model.open(0, options() | changes)
    model.open(0, options())
    with pytest.raises(StreamError, match=told):
        model.push(0, Message("restyle", meta=changes))
    show(model, 0, 1)
    assert [output.kind for output in drain(model)] == ["frame"]


def test_an_empty_prompt_is_a_prompt(model: StreamDiffusion) -> None:
    model.open(0, options(""))
    show(model, 0, 1)
    assert [output.kind for output in drain(model)] == ["frame"]


def test_a_huge_frame_is_refused(model: StreamDiffusion) -> None:
    model.open(0, options())
    with pytest.raises(StreamError, match="at most"):
        show(model, 0, 1, bytes(MAX_FRAME_BYTES + 1))


def test_a_step_that_fails_takes_its_frames_back(model: StreamDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    model.open(0, options())
    show(model, 0, 1)

    def fail(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(model._batch, "_predict", fail)
        with pytest.raises(RuntimeError):
            model.step("frame", [0])
    assert [output.pts for output in drain(model)] == [1]


def test_a_frame_whose_step_failed_is_not_taken_for_painted(
    model: StreamDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.open(0, options(filter={}))
    show(model, 0, 1)

    def fail(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(model._batch, "_predict", fail)
        with pytest.raises(RuntimeError):
            model.step("frame", [0])
    assert [output.kind for output in drain(model)] == ["frame"]


def test_a_picture_that_cannot_be_decoded_in_the_end_is_dropped(
    model: StreamDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.open(0, options(denoising={"t_indices": [20, 40]}))
    show(model, 0, 1)
    drain(model)
    show(model, 0, 2)

    def fail(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(model._networks, "decode", fail)
        with pytest.raises(RuntimeError):
            model.step("frame", [0])
    show(model, 0, 3)
    (output,) = drain(model)
    assert (output.pts, output.meta["dropped"]) == (2, 1)
