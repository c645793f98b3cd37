import random
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tests.training.diffusion.toy import write_pictures, write_teacher
from training.diffusion import lessons
from training.diffusion.lessonbook import LessonBook
from training.diffusion.pictures import SIDE, cuts, files, pictures
from training.diffusion.styles import STYLES

APP = typer.Typer()
APP.command()(lessons.main)


def test_each_lesson_is_what_the_teacher_makes_of_a_picture(tmp_path: Path) -> None:
    arguments = [write_teacher(tmp_path / "teacher.onnx"), tmp_path / "out", write_pictures(tmp_path / "pictures")]
    for shards in ("1", "2"):
        result = CliRunner().invoke(APP, [*map(str, arguments), "--shards", shards])
        assert result.exit_code == 0, result.output

    assert len(list((tmp_path / "out").iterdir())) == 6
    taken, painted, styles = (np.load(tmp_path / f"out/0001-{kind}.npy") for kind in ("pictures", "painted", "styles"))
    assert taken.shape == (lessons.LESSONS, SIDE, SIDE, 3)
    assert len({picture.tobytes() for picture in taken}) > lessons.LESSONS // 2
    assert not np.array_equal(taken, np.load(tmp_path / "out/0000-pictures.npy"))
    for picture, of_one, wanted in zip(taken, painted, styles, strict=True):
        assert len(set(wanted)) == 3
        for got, style in zip(of_one, wanted, strict=True):
            number = STYLES[style].number
            assert number is not None
            np.testing.assert_allclose(got, picture * (number / 25), atol=1)


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image or video"):
        next(lessons.shuffled([tmp_path], random.Random(0)))


def test_cuts_are_squares_of_a_picture() -> None:
    picture = Image.linear_gradient("L").resize((900, 600)).convert("RGB")
    cut = list(cuts(picture, random.Random(0)))
    assert len(cut) == 1 + 900 * 600 // 150_000
    assert {one.size for one in cut} == {(SIDE, SIDE)}


def test_videos_give_some_frames_and_broken_files_none(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "video.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", 25)
        stream.width, stream.height = 320, 240
        for level in range(0, 120, 2):
            pixels = np.full((240, 320, 3), level, np.uint8)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        video.mux(stream.encode())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("not looked at")
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")

    found = {file.name: list(pictures(file)) for file in files([tmp_path])}
    assert {name: len(pictures) for name, pictures in found.items()} == {
        "broken.mp4": 0,
        "small.png": 0,
        "video.mp4": 3,
    }
    assert [round(np.asarray(frame).mean() / 50) for frame in found["video.mp4"]] == [0, 1, 2]


def test_a_book_cuts_picture_and_painting_alike(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 0), -1)
    styles = np.array([[4, 5, 6]] * 2)
    np.save(tmp_path / "0000-pictures.npy", np.stack([picture] * 2))
    np.save(tmp_path / "0000-painted.npy", picture + styles[..., None, None, None].astype(np.uint8))
    np.save(tmp_path / "0000-styles.npy", styles)
    photo = len(STYLES) - 1
    seen = set()
    for lesson, _ in zip(LessonBook(tmp_path, 8, 32, seed=0), range(20), strict=False):
        assert lesson.pictures.shape == lesson.wanted.shape == (8, 3, 32, 32)
        for before, after, style in zip(lesson.pictures, lesson.wanted, lesson.styles.tolist(), strict=True):
            assert (after - before == (0 if style == photo else style)).all()
            seen.add((style, before[0, 0, 0].item(), before[1, 0, 0].item()))
    assert {style for style, *_ in seen} == {4, 5, 6, photo}
    assert len(seen) > 40


def test_a_book_has_some_looks_more_often(tmp_path: Path) -> None:
    """Of two looks, one of which is drawn three times as often; the photograph never."""
    common, rare = STYLES[2].name, STYLES[3].name
    others = {style.name: 0.0 for style in STYLES}
    np.save(tmp_path / "0000-pictures.npy", np.zeros((1, 8, 8, 3), np.uint8))
    np.save(tmp_path / "0000-painted.npy", np.zeros((1, 2, 8, 8, 3), np.uint8))
    np.save(tmp_path / "0000-styles.npy", np.array([[2, 3]]))
    book = LessonBook(tmp_path, 100, 8, seed=0, often=others | {common: 3.0, rare: 1.0})
    drawn = next(iter(book)).styles.tolist()
    assert set(drawn) == {2, 3}
    assert drawn.count(2) == pytest.approx(75, abs=15)
