"""Keys for web pages, as the official types know them."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import SecretStr
from redis.asyncio import Redis

from tests.app.rest.gateway import alone

PATH = "/v1/realtime/client_secrets"
KEY = {"authorization": "Bearer right-key"}


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with alone(redis_url, api_keys=[SecretStr("right-key")]) as client:
        yield client


@pytest.mark.parametrize(
    ("session", "life_s"),
    [
        (None, 600),
        ({"type": "realtime", "model": "gpt-realtime", "instructions": "Be kind."}, 10),
        ({"type": "transcription", "audio": {"input": {"turn_detection": None}}}, 7_200),
    ],
)
async def test_a_key_for_a_session(gateway: httpx.AsyncClient, session: dict[str, Any] | None, life_s: int) -> None:
    body: dict[str, Any] = {} if session is None else {"session": session, "expires_after": {"seconds": life_s}}
    answer = await gateway.post(PATH, json=body, headers=KEY)
    secret = ClientSecretCreateResponse.model_validate(answer.json(), strict=True)
    assert secret.value.startswith("ek_")
    assert abs(secret.expires_at - time.time() - life_s) < 5
    assert secret.session.type == (session or {"type": "realtime"})["type"]
    shown = answer.json()["session"]
    assert shown.get("instructions", "Be kind.").startswith((session or {}).get("instructions", ""))


async def test_a_key_is_made_with_an_api_key_only(gateway: httpx.AsyncClient) -> None:
    made = (await gateway.post(PATH, json={}, headers=KEY)).json()["value"]
    statuses = [
        (await gateway.post(PATH, json={}, headers=headers)).status_code
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {made}"})
    ]
    assert statuses == [401, 401, 403]


async def test_an_expired_key_opens_nothing(gateway: httpx.AsyncClient, redis: Redis) -> None:
    made = (await gateway.post(PATH, json={}, headers=KEY)).json()["value"]
    bearer = {"authorization": f"Bearer {made}", "content-type": "application/sdp"}
    valid = await gateway.post("/v1/realtime/calls", content=b"", headers=bearer)
    await redis.flushall()
    expired = await gateway.post("/v1/realtime/calls", content=b"", headers=bearer)
    assert (valid.status_code, valid.json()["error"]["param"]) == (400, "sdp")
    assert (expired.status_code, expired.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"expires_after": {"seconds": 9}}', "expires_after.seconds"),
        (b'{"expires_after": {"seconds": 7201}}', "expires_after.seconds"),
        (b'{"expires_after": {"anchor": "never"}}', "expires_after.anchor"),
        (b'{"colour": "red"}', "colour"),
        (b'{"session": null}', "session"),
        (b'{"session": {"type": "nothing"}}', "session.type"),
        (b'{"session": {"type": "realtime", "audio": {"output": {"voice": "nobody"}}}}', "session.audio.output.voice"),
        (b'{"session": {"type": "realtime", "model": 5}}', "session.model"),
    ],
)
async def test_bad_requests_name_the_field(gateway: httpx.AsyncClient, body: bytes, param: str | None) -> None:
    answer = await gateway.post(PATH, content=body, headers=KEY)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
