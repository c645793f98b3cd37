"""Which files anyone may have, and with which headers."""

import httpx
import pytest

from tests.server import Server


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/sdk/millstream.js", "text/javascript")])
def test_files_need_no_key(guarded_server: Server, path: str, kind: str) -> None:
    answer = httpx.get(guarded_server.url + path)
    assert answer.is_success
    assert answer.headers["content-type"].startswith(kind)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/workers", 401),
        ("GET", "/metrics", 401),
        ("GET", "/v1/nothing", 401),
        ("POST", "/", 401),
        ("GET", "/nothing.js", 404),
        ("GET", "/../pyproject.toml", 404),
        ("GET", "/sdk/%2e%2e/python/pyproject.toml", 404),
    ],
)
def test_nothing_else_is_public(guarded_server: Server, method: str, path: str, status: int) -> None:
    assert httpx.request(method, guarded_server.url + path).status_code == status
