import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.live.session import End, LiveSession, Picture, Say
from models.diffusion.options import MAX_FRAME_BYTES
from pipelines.effects import OpenStream, Push, Show, StreamOutput


def text(**fields: Any) -> str:
    return json.dumps(fields)


def picture(pts: int, data: bytes = b"jpeg") -> bytes:
    return pts.to_bytes(8, "big") + data


@pytest.fixture
def session() -> LiveSession:
    live = LiveSession()
    live.receive(text(type="restyle", prompt="oil"))
    return live


def refusal(effects: Sequence[Any]) -> dict[str, Any]:
    (said,) = effects
    assert isinstance(said, Say)
    assert said.event["type"] == "error"
    error: dict[str, Any] = said.event["error"]
    return error


def test_a_session_from_beginning_to_end() -> None:
    live = LiveSession()
    opened, ready = live.receive(text(type="restyle", prompt="oil", fit="contain"))
    assert opened == OpenStream("restyle", {"prompt": "oil", "fit": "contain"})
    assert ready == Say({"type": "ready"})
    (shown,) = live.receive(picture(90))
    assert isinstance(shown, Show)
    assert (shown.pts, shown.data) == (90, b"jpeg")
    assert live.receive(text(type="restyle", prompt="ink")) == [Push("restyle", meta={"prompt": "ink"})]
    assert live.on_output(StreamOutput("frame", 90, b"out", {"dropped": 0})) == [Picture(90, b"out", 0)]
    assert Picture(90, b"out", 7).encode() == picture(90, b"\0\0\0\x07out")
    assert live.receive(text(type="finish")) == [Push("flush")]
    assert live.on_output(StreamOutput("done", meta={"dropped": 0})) == [Say({"type": "finished", "dropped": 0}), End()]


def test_other_answers_are_events(session: LiveSession) -> None:
    session.receive(picture(1))
    session.receive(picture(2))
    assert session.on_output(StreamOutput("same", 1)) == [Say({"type": "unchanged", "pts": 1})]
    assert session.on_output(StreamOutput("held", 2)) == [Say({"type": "held", "pts": 2})]
    told = session.on_output(StreamOutput("unreadable", 2, meta={"message": "no"}))
    assert told == [Say({"type": "unreadable", "pts": 2, "message": "no"})]
    failed = session.on_output(StreamOutput("refused", meta={"code": "server_full", "message": "full"}))
    assert refusal(failed[:1])["code"] == "server_full"
    assert failed[1] == End()


def test_a_lost_stream_is_opened_with_all_that_was_asked_for(session: LiveSession) -> None:
    session.receive(text(type="restyle", denoising={"t_indices": [40]}))
    session.receive(text(type="restyle", denoising={"seed": 7}))
    (opened,) = session.on_output(StreamOutput("lost", meta={"code": "worker_lost", "message": "gone"}))
    assert isinstance(opened, OpenStream)
    assert opened.options["denoising"] == {"t_indices": [40], "seed": 7}


@pytest.mark.parametrize(
    ("message", "param", "told"),
    [
        ("{", "type", "JSON object"),
        ("[]", "type", "JSON object"),
        ('{"type": 3}', "type", "JSON object"),
        (text(type="dance"), "type", "must be restyle or finish"),
        (text(type="restyle", prompt=3), "restyle", "prompt"),
        (text(type="restyle", prompt="x" * 10_000), "restyle", "prompt"),
        (text(type="restyle", denoising={"t_indices": [77]}), "restyle", "t_indices"),
        (text(type="restyle", loudness=1), "restyle", "loudness"),
        (b"", "picture", "follows the 8 bytes"),
        (picture(3, b""), "picture", "follows the 8 bytes"),
        (picture(10), "pts", "must rise: 10 after 10"),
        (picture(2**63), "pts", "must rise"),
        (picture(11, bytes(MAX_FRAME_BYTES + 1)), "picture", "at most"),
    ],
)
def test_bad_messages_are_refused_and_change_nothing(
    session: LiveSession, message: str | bytes, param: str, told: str
) -> None:
    session.receive(picture(10))
    error = refusal(session.receive(message))
    assert error["param"] == param
    assert told in error["message"]
    assert isinstance(session.receive(picture(11))[0], Show)


@pytest.mark.parametrize("message", [picture(1), text(type="finish"), text(type="restyle")])
def test_a_prompt_comes_first(message: str | bytes) -> None:
    error = refusal(LiveSession().receive(message))
    assert error["param"] in ("type", "restyle")


def test_nothing_follows_the_end(session: LiveSession) -> None:
    session.receive(text(type="finish"))
    assert refusal(session.receive(picture(1)))["message"] == "nothing follows finish"
