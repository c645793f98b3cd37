import asyncio

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from app.auth import Gatekeeper

KEYS = [SecretStr("first-key"), SecretStr("second-key")]


def connection(subprotocols: tuple[str, ...] = (), **headers: str) -> HTTPConnection:
    raw = [(name.lower().encode(), value.encode()) for name, value in {"host": "localhost:8000", **headers}.items()]
    return HTTPConnection({"type": "websocket", "headers": raw, "subprotocols": list(subprotocols)})


def refusal(
    keys: list[SecretStr],
    subprotocols: tuple[str, ...] = (),
    allowed_origins: tuple[str, ...] = (),
    **headers: str,
) -> str | None:
    gatekeeper = Gatekeeper(Redis(), keys, allowed_origins)
    error = asyncio.run(gatekeeper.refusal(connection(subprotocols, **headers)))
    return str(error) if error else None


def test_without_keys_everyone_is_let_in() -> None:
    assert refusal([]) is None
    assert refusal([], authorization="Bearer whatever") is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_without_keys_the_server_answers_to_loopback_names(host: str) -> None:
    assert refusal([], host=host) is None


@pytest.mark.parametrize("host", ["rebound.example:8000", "192.168.1.5", "", "["])
def test_without_keys_another_name_is_refused(host: str) -> None:
    assert "is not this machine" in str(refusal([], host=host))
    assert refusal(KEYS, host=host, authorization="Bearer first-key") is None


def test_a_malformed_origin_is_refused() -> None:
    assert refusal([], origin="http://[") is not None


@pytest.mark.parametrize("key", ["first-key", "second-key"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_any_configured_key_is_let_in(scheme: str, key: str) -> None:
    assert refusal(KEYS, authorization=f"{scheme} {key}") is None


def test_browsers_name_their_key_as_a_subprotocol() -> None:
    assert refusal(KEYS, ("realtime", "openai-insecure-api-key.second-key")) is None
    assert refusal(KEYS, ("openai-insecure-api-key.second-key", "realtime")) is None


@pytest.mark.parametrize("key", ["wrong", "first-ke", "first-keyy", "FIRST-KEY", "schlüssel", "first-key second-key"])
def test_a_wrong_key_is_refused(key: str) -> None:
    assert refusal(KEYS, authorization=f"Bearer {key}") == "the API key is not valid"
    assert refusal(KEYS, (f"openai-insecure-api-key.{key}",)) == "the API key is not valid"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic first-key", "first-key"])
def test_no_key_is_refused_with_a_hint(authorization: str) -> None:
    for told in (refusal(KEYS, authorization=authorization), refusal(KEYS, ("realtime",), authorization=authorization)):
        assert told is not None
        assert "Authorization: Bearer" in told


def test_an_empty_key_in_a_subprotocol_is_refused() -> None:
    assert refusal(KEYS, ("openai-insecure-api-key.",)) is not None


def test_a_header_wins_over_a_subprotocol() -> None:
    protocols = ("openai-insecure-api-key.first-key",)
    assert refusal(KEYS, protocols, authorization="Bearer wrong") == "the API key is not valid"


def test_refusals_do_not_tell_keys() -> None:
    told = refusal(KEYS, authorization="Bearer nearly-first-key")
    assert told is not None
    assert "key-" not in told
    assert "nearly" not in told


def test_a_page_of_the_servers_own_host_is_let_in() -> None:
    assert refusal([], origin="http://localhost:8000") is None
    assert refusal([], origin="https://localhost:8000") is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:9000",
        "http://localhost",
        "http://localhost:8000.evil.example",
        "http://evil.example/localhost:8000",
        "null",
        "",
    ],
)
def test_a_page_from_elsewhere_is_refused_whatever_its_key(origin: str) -> None:
    for keys in ([], KEYS):
        told = refusal(keys, origin=origin, authorization="Bearer first-key")
        assert told is not None
        assert repr(origin) in told
        assert "allowed_origins" in told


def test_a_configured_origin_is_let_in_and_others_are_not() -> None:
    allowed = ("https://app.example",)
    assert refusal([], allowed_origins=allowed, origin="https://app.example") is None
    assert refusal([], allowed_origins=allowed, origin="http://app.example") is not None
    assert refusal([], allowed_origins=allowed, origin="https://app.example.evil") is not None
    assert refusal([], allowed_origins=allowed, origin="http://localhost:8000") is None


def test_any_origin_is_let_in_if_so_configured() -> None:
    assert refusal([], allowed_origins=("*",), origin="https://evil.example") is None
    assert refusal(KEYS, allowed_origins=("*",), origin="https://evil.example") is not None


def test_clients_that_are_no_pages_have_no_origin() -> None:
    assert refusal(KEYS, authorization="Bearer first-key") is None
