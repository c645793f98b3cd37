"""Pictures of films and devices, and their restyling over a real server with a tiny random checkpoint."""

import asyncio
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import millstream
from millstream import Held, Reconnect, Reconnected, Restyled, sync
from millstream.camera import Camera, DeviceError
from tests.e2e.test_live import ONE_STAGE, film, picture
from tests.models.asr.fastconformer.talkative import catalogue
from tests.models.diffusion import checkpoints
from tests.models.diffusion.checkpoints import SIZE
from tests.sdk.proxy import proxied
from tests.sdk.test_examples import run
from tests.server import Server, running_server

PATTERN: dict[str, Any] = {"source": "testsrc=size=640x480:rate=30", "format": "lavfi"}
"""A device that FFmpeg makes up."""


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("painter")
    environment: dict[str, Any] = {
        "MILLSTREAM_CATALOG": str(catalogue(directory / "catalog.toml", tiny=checkpoints.write(directory))),
        "MILLSTREAM_WORKERS": '{"restyle": 1}',
        "MILLSTREAM_RESTYLE_MODEL": "tiny",
        "MILLSTREAM_RESTYLE_HEIGHT": str(SIZE),
        "MILLSTREAM_RESTYLE_WIDTH": str(SIZE),
    }
    with running_server(directory, **environment) as server:
        yield server


@pytest.fixture
def nine_pictures(tmp_path: Path) -> Path:
    """At 10 a second."""
    path = tmp_path / "film.mp4"
    film(path, pictures=9)
    return path


@pytest.mark.parametrize("paced", [True, False])
def test_film(nine_pictures: Path, paced: bool) -> None:
    with Camera(nine_pictures, paced=paced, max_side=48) as camera:
        frames = list(camera)
    assert [frame.pts for frame in frames] == [9_000 * number for number in range(9)]
    image = Image.open(io.BytesIO(frames[0].picture))
    assert (image.format, image.size) == ("JPEG", (48, 32))


def test_fewer_pictures(nine_pictures: Path) -> None:
    with Camera(nine_pictures, paced=False, fps=5) as camera:
        assert [frame.pts for frame in camera] == [18_000 * number for number in range(5)]


async def test_device() -> None:
    """Whoever is slow gets the latest."""
    with Camera(**PATTERN) as camera:
        first = await anext(camera)
        await asyncio.sleep(0.5)
        later = await anext(camera)
        assert camera.dropped > 0
    assert later.pts > first.pts + 3_000
    assert Image.open(io.BytesIO(first.picture)).size == (512, 384)


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "film.txt"
    path.write_text("no film")
    for source in path, tmp_path / "nothing.mp4":
        with pytest.raises(DeviceError, match=source.name):
            Camera(source)
    with pytest.raises(DeviceError, match="cannot be opened"):
        Camera(tmp_path / "video0", format="v4l2")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[camera\]'"):
        Camera()


def test_film_is_restyled(painter: Server, nine_pictures: Path) -> None:
    with (
        sync.restyle("a cat", painter.url, denoising=ONE_STAGE) as restyling,
        Camera(nine_pictures) as camera,
    ):
        events = [event for event in restyling.watch(camera) if isinstance(event, Restyled)]
    assert len(events) + restyling.dropped == 9
    assert Image.open(io.BytesIO(events[-1].picture)).size == (SIZE, SIZE)


async def test_restyling_goes_on_after_a_cut(painter: Server) -> None:
    """With its options as they were changed; what had not come is told to be lost."""
    quick = Reconnect(attempts=3, first_pause_s=0.05)
    async with (
        proxied(painter) as proxy,
        millstream.restyle("a cat", proxy.url, denoising=ONE_STAGE, reconnect=quick) as restyling,
    ):
        await restyling.send(picture(0), 0)
        assert isinstance(await anext(restyling), Restyled)
        await restyling.change(denoising={"t_indices": [20, 35]})
        await restyling.send(picture(1), 1)
        assert await anext(restyling) == Held(1)
        proxy.cut()
        assert await anext(restyling) == Reconnected(lost_pictures=1)
        await restyling.send(picture(2), 2)
        assert await anext(restyling) == Held(2)
        await restyling.finish()
        assert [event.pts async for event in restyling if isinstance(event, Restyled)] == [2]
    assert restyling.dropped == 1


def test_example(painter: Server, nine_pictures: Path) -> None:
    """`examples/restyle_camera.py`, as people run it."""
    done = run("restyle_camera.py", "a cat", str(nine_pictures), url=painter.url)
    pictures = done.stdout.split(b"\xff\xd8\xff")[1:]
    left_out = int(done.stderr.split()[0])
    assert len(pictures) + left_out == 9
    assert Image.open(io.BytesIO(b"\xff\xd8\xff" + pictures[-1])).size == (SIZE, SIZE)
