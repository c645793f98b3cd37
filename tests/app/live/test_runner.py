"""How long a live session lasts."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.main import create_app
from app.settings import Settings


@pytest.mark.parametrize(
    ("limit", "code", "message"),
    [
        ({"idle_timeout_s": 0.3}, "idle_timeout", "no message from the client for 0.3 s"),
        ({"session_max_s": 0.6}, "session_expired", "a session lasts at most 0.01 minutes"),
    ],
)
def test_a_client_is_told_which_limit_ends_its_session(
    redis_url: str, limit: dict[str, float], code: str, message: str
) -> None:
    app = create_app(Settings.model_validate({"redis_url": redis_url, **limit}))
    with TestClient(app) as client, client.websocket_connect("ws://127.0.0.1/v1/live") as connection:
        error = {"code": code, "message": message, "param": None}
        assert connection.receive_json() == {"type": "error", "error": error}
        with pytest.raises(WebSocketDisconnect) as closed:
            connection.receive_json()
    assert (closed.value.code, closed.value.reason) == (1000, message)
