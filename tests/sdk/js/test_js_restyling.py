"""Live video through `sdk/js`, in Node and in a browser, with the model that ships."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium_page
from tests.sdk.js.running import a_page, node_test, of_kind, run
from tests.server import Server, running_server


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that restyles, with the model that ships. On a busy machine its worker may not want more for a while."""
    environment: dict[str, Any] = {"MILLSTREAM_WORKERS": '{"restyle": 1}', "MILLSTREAM_CLAIM_TIMEOUT_S": "30"}
    with running_server(tmp_path_factory.mktemp("painter"), **environment) as started:
        yield started


async def test_a_film_is_restyled(painter: Server) -> None:
    async with chromium_page(a_page(painter)) as page:
        told = await run(page, "restyling")
    for transport, bytes_given in (("websocket", True), ("webrtc", False)):
        result = told[transport]
        pictures = of_kind(result["events"], "restyled")
        assert len(pictures) == 5
        assert [picture["pts"] for picture in pictures] == sorted({picture["pts"] for picture in pictures})
        assert all((picture["bytes"] is not None) == bytes_given for picture in pictures)
        assert all(picture["delayMs"] > 0 for picture in pictures)
        assert result["canvas"] == ([256, 256] if bytes_given else [300, 150])
        assert result["track"] == (None if bytes_given else "ended")
        assert result["done"]
    assert told["websocket"]["dropped"] == 0


def test_in_node(painter: Server, tmp_path: Path) -> None:
    node_test("restyling", painter, tmp_path)
