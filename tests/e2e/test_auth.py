"""Who may connect to a server that has keys."""

import httpx
import openai
import pytest
from openai import OpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.e2e.raw import calling
from tests.e2e.speech import DATA, REFERENCE, said
from tests.server import Server

KEY = "right-key"
PATHS = ["/v1/models", "/metrics", "/v1/audio/transcriptions", "/v1/nothing"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


NO_KEY = [{}, bearer("wrong"), bearer("right-key2"), {"Authorization": "Bearer"}, {"Authorization": KEY}]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", NO_KEY)
def test_no_way_in(guarded_server: Server, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(guarded_server.url + path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_probes_need_no_key(guarded_server: Server) -> None:
    assert httpx.get(f"{guarded_server.url}/healthz").is_success
    assert httpx.get(f"{guarded_server.url}/readyz").is_success


@pytest.mark.parametrize("key", ["right-key", "other-key"])
def test_every_key_works(guarded_server: Server, key: str) -> None:
    client = OpenAI(api_key=key, base_url=f"{guarded_server.url}/v1", max_retries=0)
    answer = client.audio.transcriptions.create(file=DATA / "sense_0930.wav", model="whisper-base")
    assert said(answer.text, REFERENCE["sense_0930"]) <= 0.15


def test_wrong_key(guarded_server: Server) -> None:
    client = OpenAI(api_key="wrong", base_url=f"{guarded_server.url}/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="not valid"):
        client.audio.transcriptions.create(file=DATA / "sense_0930.wav", model="whisper-base")


async def test_realtime_with_a_key(guarded_server: Server) -> None:
    async with calling(guarded_server, KEY) as caller:
        await caller.heard.wait("session.created")


async def test_realtime_with_a_key_from_a_browser(guarded_server: Server) -> None:
    protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{KEY}")]
    async with connect(f"{guarded_server.realtime_url}/realtime", subprotocols=protocols) as connection:
        assert connection.subprotocol == "realtime"
        assert "session.created" in str(await connection.recv())


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_realtime_handshake_is_refused(guarded_server: Server, key: str | None) -> None:
    protocols = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.wrong")] if key else None
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"{guarded_server.realtime_url}/realtime", subprotocols=protocols)
    assert caught.value.response.status_code == 401
    assert b"invalid_api_key" in (caught.value.response.body or b"")


FOE = "https://foe.example"


@pytest.mark.parametrize("origin", ["https://friend.example", None])
async def test_trusted_web_page(guarded_server: Server, origin: str | None) -> None:
    """One that is named in the settings, and the server's own."""
    page = Origin(origin or guarded_server.url)
    url = f"{guarded_server.realtime_url}/realtime"
    async with connect(url, additional_headers=bearer(KEY), origin=page) as connection:
        assert "session.created" in str(await connection.recv())


async def test_foreign_web_page(server: Server, guarded_server: Server) -> None:
    for wary, headers in [(server, {}), (guarded_server, bearer(KEY))]:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{wary.realtime_url}/realtime", additional_headers=headers, origin=Origin(FOE))
        assert caught.value.response.status_code == 403


def test_foreign_web_page_at_rest(server: Server, guarded_server: Server) -> None:
    for wary, headers in [(server, {}), (guarded_server, bearer(KEY))]:
        answer = httpx.get(f"{wary.url}/v1/models", headers={**headers, "Origin": FOE})
        assert answer.status_code == 403
        assert FOE in answer.json()["error"]["message"]


async def test_web_page_that_names_this_machine(server: Server) -> None:
    """DNS rebinding: the page's own name leads here, so its requests are of the same origin."""
    host = f"rebound.example:{server.url.rpartition(':')[2]}"
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/v1/models", headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 403
    with pytest.raises(InvalidStatus):
        await connect(f"ws://{host}/v1/realtime", host="127.0.0.1", port=int(host.rpartition(":")[2]))


def test_keys_stay_out_of_the_log(guarded_server: Server) -> None:
    httpx.get(f"{guarded_server.url}/v1/models", headers=bearer("some-secret"))
    log = guarded_server.log.read_text()
    assert "some-secret" not in log
    assert KEY not in log
