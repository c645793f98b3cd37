"""Publishing by WHIP and playing by WHEP, with a painter that knows nothing."""

from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

from tests.e2e.metrics import metric, until
from tests.e2e.streaming import SDP, Pictures, Tone, calling
from tests.models.diffusion.checkpoints import SIZE
from tests.server import Server

RESTYLED = {"prompt": "a cat", "options": '{"denoising": {"t_indices": [35], "guidance": "none"}}'}


def address(server: Server, door: str, stream: str, **query: str) -> str:
    return str(httpx.URL(f"{server.url}/v1/{door}/{stream}", params=query))


async def test_what_is_published_is_played_restyled(painter: Server) -> None:
    async with calling(address(painter, "whip", "stage", **RESTYLED), Tone(), Pictures()) as publisher:
        assert publisher.answer.status_code == httpx.codes.CREATED
        async with (
            calling(address(painter, "whep", "stage"), "video", "audio") as viewer,
            calling(address(painter, "whep", "stage"), "video") as another,
        ):
            (*_, picture) = await viewer.get("video", 3)
            assert picture.shape == (SIZE * 3 // 2, SIZE)  # YUV 4:2:0
            assert picture[:SIZE].std() > 5  # the publisher's own pictures are of one grey
            sound = np.concatenate([frame.ravel() for frame in await viewer.get("audio", 50)])
            spectrum = np.abs(np.fft.rfft(sound[::2]))
            assert np.fft.rfftfreq(len(sound[::2]), 1 / 48_000)[spectrum.argmax()] == pytest.approx(440, abs=5)
            assert await another.get("video", 1)


async def test_without_a_prompt_pictures_stay_as_they_are(painter: Server) -> None:
    async with (
        calling(address(painter, "whip", "plain"), Pictures()),
        calling(address(painter, "whep", "plain"), "video") as viewer,
    ):
        (*_, picture) = await viewer.get("video", 3)
        assert picture.shape == (48 * 3 // 2, 80)
        assert picture[:48].std() < 3


async def test_the_end_of_a_stream_ends_its_calls(painter: Server) -> None:
    async with (
        calling(address(painter, "whip", "brief"), Pictures()) as publisher,
        calling(address(painter, "whep", "brief"), "video") as viewer,
        httpx.AsyncClient() as client,
    ):
        await viewer.get("video", 1)
        place = urljoin(painter.url, publisher.answer.headers["location"])
        assert (await client.delete(place)).is_success
        await until(lambda: viewer.connection.connectionState == "closed")
        await until(lambda: publisher.connection.connectionState == "closed")
        assert (await client.delete(place)).status_code == httpx.codes.NOT_FOUND
    async with calling(address(painter, "whip", "brief"), Pictures()) as again:
        assert again.answer.status_code == httpx.codes.CREATED


async def test_one_publisher_a_stream(painter: Server) -> None:
    async with (
        calling(address(painter, "whip", "mine"), Pictures()),
        calling(address(painter, "whip", "mine"), Pictures()) as late,
    ):
        assert late.answer.status_code == httpx.codes.CONFLICT
        assert "mine" in late.answer.json()["error"]["message"]


async def test_nothing_to_play(painter: Server) -> None:
    async with calling(address(painter, "whep", "nobody"), "video") as viewer:
        assert viewer.answer.status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"options": "{"}, "options"),
        ({"options": "[]"}, "options"),
        ({"prompt": "x" * 10_001}, "restyle"),
        ({"options": '{"promt": "a cat"}'}, "restyle"),
    ],
)
async def test_bad_options(painter: Server, query: dict[str, str], param: str) -> None:
    async with calling(address(painter, "whip", "bad", **query), Pictures()) as publisher:
        assert publisher.answer.status_code == httpx.codes.BAD_REQUEST
        assert publisher.answer.json()["error"]["param"] == param


@pytest.mark.parametrize("door", ["whip", "whep"])
async def test_a_body_that_is_no_sdp(painter: Server, door: str) -> None:
    async with httpx.AsyncClient() as client:
        url = address(painter, door, "garbage")
        assert (await client.post(url, content="v=0")).status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE
        assert (await client.post(url, content="v=0", headers=SDP)).status_code == httpx.codes.BAD_REQUEST
        asked = await client.options(url)
        assert asked.headers["accept-post"] == SDP["content-type"]


async def test_a_publisher_for_whom_no_slot_is_free(painter: Server) -> None:
    """Two slots: the third stream is refused, and its call ends."""
    async with (
        calling(address(painter, "whip", "first", **RESTYLED), Pictures()),
        calling(address(painter, "whip", "second", **RESTYLED), Pictures()),
    ):
        await until(lambda: metric(painter, "millstream_slots", state="used") == 2)
        async with calling(address(painter, "whip", "third", **RESTYLED), Pictures()) as third:
            await until(lambda: third.connection.connectionState == "closed")
