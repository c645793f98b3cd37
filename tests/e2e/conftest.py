"""Servers that several files of end-to-end tests share."""

import pytest

from tests.models.asr.fastconformer.talkative import catalogue
from tests.models.diffusion import checkpoints
from tests.server import Server, running_server, shared_servers


@pytest.fixture(scope="session")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that restyles with a tiny random checkpoint, two sessions at most: it paints noise, but each its own."""
    directory = tmp_path_factory.mktemp("painter")
    server = running_server(
        directory,
        MILLSTREAM_CATALOG=str(catalogue(directory / "catalog.toml", tiny=checkpoints.write(directory))),
        MILLSTREAM_WORKERS='{"restyle": 1}',
        MILLSTREAM_RESTYLE_MODEL="tiny",
        MILLSTREAM_RESTYLE_HEIGHT=str(checkpoints.SIZE),
        MILLSTREAM_RESTYLE_WIDTH=str(checkpoints.SIZE),
        MILLSTREAM_SLOTS="2",
    )
    return shared_servers.enter_context(server)
