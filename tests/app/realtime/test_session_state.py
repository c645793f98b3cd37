"""Limits on a session's life, and its going on elsewhere."""

from collections.abc import Callable

import pytest

from app.realtime.session import Limits
from tests.app.realtime.client import BEGAN, Client
from tests.pipelines.listen import numbered, said, samples

LIMITS = Limits(session_max_s=600, idle_timeout_s=60)


def test_event_ids_carry_the_sequence() -> None:
    client = Client(said(1, 2, "hello there"))
    client.speak(3)
    client.raw("nonsense")
    client.lose()
    ids = [event["event_id"] for event in client.events]
    assert ids == [f"event_story_{number}" for number in range(1, len(ids) + 1)]


def test_a_silent_client_is_disconnected() -> None:
    client = Client(limits=LIMITS)
    assert client.session.next_wakeup() == BEGAN + 60
    assert client.tick(59.9) == []
    assert client.closed is None
    (error,) = client.tick(0.1)
    assert error["error"]["type"] == "server_error"
    assert error["error"]["code"] == "idle_timeout"
    assert "60 s" in error["error"]["message"]
    assert client.closed is not None
    assert client.closed.code == 1000


@pytest.mark.parametrize("message", ['{"type":"input_audio_buffer.clear"}', "nonsense"])
def test_whatever_a_client_sends_shows_that_it_is_there(message: str) -> None:
    client = Client(limits=LIMITS)
    client.tick(50)
    client.raw(message)
    assert client.session.next_wakeup() == BEGAN + 110
    assert client.tick(59) == []
    assert client.closed is None


def test_a_session_expires_however_busy() -> None:
    client = Client(limits=LIMITS)
    for _ in range(19):
        client.tick(30)
        client.clear()
    assert client.closed is None
    assert client.session.next_wakeup() == BEGAN + 600 == client.events[0]["session"]["expires_at"]
    (error,) = client.tick(30)
    assert error["error"]["code"] == "session_expired"
    assert "10 minutes" in error["error"]["message"]
    assert client.closed is not None
    assert client.closed.code == 1000


def story(*, moving: bool) -> Client:
    """A bit of everything; `moving` from gateway to gateway at every step."""
    client = Client(
        said(1, 2, "one turn"),
        said(3, 5, "cut in two halves"),
        numbered(8, 40),
        said(45, 47, "never mind this"),
        said(50, 52, "lost half this"),
        partial_lag=samples(0.1),
        final_lag=lambda segment: samples(0.3 * (segment % 4)),
    )
    steps: list[Callable[[], object]] = [
        lambda: client.speak(4),
        lambda: client.commit(),
        lambda: client.speak(2),
        lambda: client.update(turn_detection=None, transcription={"language": "en"}, include=[]),
        lambda: client.raw("nonsense"),
        lambda: client.speak(20),
        lambda: client.speak(15.01),
        lambda: client.commit(event_id="evt_1"),
        lambda: client.commit(event_id="evt_2"),
        lambda: client.update(format={"type": "audio/pcma"}, turn_detection={"type": "semantic_vad"}),
        lambda: client.speak(5),
        lambda: client.clear(),
        lambda: client.speak(5),
        lambda: client.lose(),
        lambda: client.speak(8),
        lambda: client.tick(10),
        lambda: client.settle(),
    ]
    for step in steps:
        if moving:
            client.move()
        step()
    return client


def test_a_session_goes_on_from_its_serialised_state() -> None:
    moved, stayed = story(moving=True), story(moving=False)
    assert moved.events == stayed.events
    assert moved.pushes == stayed.pushes
    assert moved.session.next_wakeup() == stayed.session.next_wakeup()
    assert len(stayed.transcripts()) >= 4
