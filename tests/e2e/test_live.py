"""Live video over a real server with a tiny random checkpoint: it paints noise, but each client gets its own."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from websockets.asyncio.client import connect

import millstream
from app.cli import cli
from millstream import Held, Reconnected, Restyled, RestylingEvent, ServerError, Unreadable
from tests.models.diffusion.checkpoints import SIZE
from tests.server import Server

ONE_STAGE = {"t_indices": [35], "guidance": "none"}


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 80, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


async def restyled(server: Server, prompt: str, pictures: range, **options: Any) -> list[RestylingEvent]:
    """One picture after the other, so that none is dropped."""
    events = []
    async with millstream.restyle(prompt, server.url, **{"denoising": ONE_STAGE, **options}) as restyling:
        answers = aiter(restyling)
        for seed in pictures:
            await restyling.send(picture(seed), 90 * seed)
            events.append(await anext(answers))
        await restyling.finish()
        events += [event async for event in answers]
    return events


async def test_two_clients_get_their_own_pictures(painter: Server) -> None:
    alone = [await restyled(painter, prompt, range(4)) for prompt in ("a cat", "zz zz")]
    together = await asyncio.gather(*(restyled(painter, prompt, range(4)) for prompt in ("a cat", "zz zz")))
    for mine, theirs in zip(together, alone, strict=True):
        assert [pts(event) for event in mine] == [0, 90, 180, 270]
        for got, expected in zip(mine, theirs, strict=True):
            assert isinstance(got, Restyled)
            assert isinstance(expected, Restyled)
            assert np.abs(pixels(got) - pixels(expected)).mean() < 1
    assert np.abs(pixels(together[0][0]) - pixels(together[1][0])).mean() > 5


def pts(event: RestylingEvent) -> int:
    assert not isinstance(event, Reconnected)
    return event.pts


def pixels(event: RestylingEvent) -> np.ndarray:
    assert isinstance(event, Restyled)
    image = Image.open(io.BytesIO(event.picture))
    assert (image.format, image.size) == ("JPEG", (SIZE, SIZE))
    return np.asarray(image, np.int16)


async def test_the_last_pictures_come_at_the_end(painter: Server) -> None:
    events = await restyled(painter, "a cat", range(4), denoising={"t_indices": [10, 30, 45]})
    kinds = [(type(event), pts(event)) for event in events]
    assert kinds == [(Held, 0), (Held, 90)] + [(Restyled, time) for time in (0, 90, 180, 270)]


async def test_a_flood_is_answered_for_in_full(painter: Server) -> None:
    async with millstream.restyle("a cat", painter.url, denoising=ONE_STAGE) as restyling:
        for seed in range(300):
            await restyling.send(picture(seed % 5), seed)
        await restyling.finish()
        events = [event async for event in restyling]
    assert len(events) + restyling.dropped == 300
    assert restyling.dropped > 0
    assert [pts(event) for event in events] == sorted(pts(event) for event in events)
    assert pts(events[-1]) == 299


async def test_bad_pictures_and_messages_leave_the_session_alone(painter: Server) -> None:
    async with connect(f"{painter.url.replace('http', 'ws')}/v1/live") as websocket:
        for message, param in (("{", "type"), (b"12345678x", "type"), ('{"type": "restyle", "prompt": 1}', "restyle")):
            await websocket.send(message)
            assert json.loads(await websocket.recv())["error"]["param"] == param
        await websocket.send(json.dumps({"type": "restyle", "prompt": "a", "denoising": ONE_STAGE}))
        assert json.loads(await websocket.recv()) == {"type": "ready"}
    assert [type(event) for event in await restyled_raw(painter, [picture(0)[:300], b"GIF89a", picture(1)])] == [
        Unreadable,
        Unreadable,
        Restyled,
    ]


async def restyled_raw(server: Server, pictures: list[bytes]) -> list[RestylingEvent]:
    async with millstream.restyle("a", server.url, denoising=ONE_STAGE) as restyling:
        answers, events = aiter(restyling), []
        for pts, data in enumerate(pictures):
            await restyling.send(data, pts)
            events.append(await anext(answers))
        return events


async def test_one_too_many_is_refused(painter: Server) -> None:
    async with (
        millstream.restyle("a", painter.url) as first,
        millstream.restyle("b", painter.url) as second,
    ):
        for restyling in first, second:
            await restyling.send(picture(0), 0)
            assert isinstance(await anext(aiter(restyling)), Held)
        async with millstream.restyle("c", painter.url) as third:
            await third.send(picture(0), 0)
            with pytest.raises(ServerError) as error:
                await anext(aiter(third))
        assert error.value.code == "server_full"


def test_a_file_is_restyled_and_keeps_its_sound(painter: Server, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    film(source, pictures=9)
    result = CliRunner().invoke(
        cli,
        [
            "restyle",
            str(source),
            str(target),
            "--prompt",
            "a cat",
            "--stage",
            "20",
            "--stage",
            "40",
            "--url",
            painter.url,
        ],
    )
    assert result.exit_code == 0, result.output
    with av.open(str(target)) as got, av.open(str(source)) as given:
        frames = list(got.decode(video=0))
        assert len(frames) == 9
        assert (frames[0].width, frames[0].height) == (SIZE, SIZE)
        assert [round(frame.time, 3) for frame in frames] == [round(number / 10, 3) for number in range(9)]
        got.seek(0)
        sounds = [[bytes(packet) for packet in each.demux(audio=0) if packet.size] for each in (got, given)]
        assert sounds[0] == sounds[1]


def test_a_file_that_is_no_video_is_refused(painter: Server, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("no film")
    command = ["restyle", str(source), str(tmp_path / "out.mp4"), "--prompt", "a", "--url", painter.url]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1
    assert "no video" in result.output


def film(file: Path, pictures: int) -> None:
    """Noise at 10 pictures a second, with a tone."""
    with av.open(str(file), "w") as container:
        video, sound = container.add_stream("libx264", 10), container.add_stream("aac", 16_000)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for seed in range(pictures):
            noise = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(noise)))
        container.mux(video.encode(None))
        tone = (np.sin(np.arange(14_336) / 5) * 8_000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


async def test_a_file_is_refused_by_a_full_server_in_a_line(painter: Server, tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", pictures=3)
    command = ["restyle", str(tmp_path / "in.mp4"), str(tmp_path / "out.mp4"), "--prompt", "a", "--url", painter.url]
    async with (
        millstream.restyle("a", painter.url) as first,
        millstream.restyle("b", painter.url) as second,
    ):
        for restyling in first, second:
            await restyling.send(picture(0), 0)
            assert isinstance(await anext(aiter(restyling)), Held)
        result = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert result.exit_code == 1
    assert "no worker has a free slot" in result.output
