"""`sdk/js` in a real browser, under the strict policy with which the server serves its files."""

import base64
import math
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route

from tests.browser import chromium_page
from tests.conftest import DATA
from tests.e2e.speech import REFERENCE, clip, file, said, silence
from tests.packages import node_modules
from tests.sdk.js.detour import Detour
from tests.sdk.js.running import a_page, of_kind, run
from tests.server import Server

RATE_HZ = 24_000
STORIES = "You are a story teller. Tell a very long story about a fox in the forest, in many sentences."


async def test_worklets(server: Server) -> None:
    async with chromium_page(a_page(server)) as page:
        heard = await run(page, "worklets")
    for rate in ("same", "down", "odd"):
        assert set(heard[rate]["sizes"]) == {960}
        assert len(heard[rate]["sizes"]) == 24 if rate == "down" else 25
        assert noise_db(heard[rate]["samples"]) < -60
    wanted = [(index + 1) / 16_384 for index in range(10_000)]
    assert heard["whole"]["samples"][:10_000] == wanted
    assert not any(heard["whole"]["samples"][10_000:])
    assert heard["whole"]["reports"][-1] == {"era": 0, "played": 10_000}
    at = 6_144
    assert heard["cut"]["samples"][:at] == wanted[:at]
    assert 0 < heard["cut"]["samples"][at + 64] < wanted[at]
    assert not any(heard["cut"]["samples"][at + 128 :])
    assert {report["era"] for report in heard["cut"]["reports"]} == {0}


def noise_db(samples: list[int]) -> float:
    """What is no 1 kHz tone at half of full scale, but for the first and last moments, against the tone."""
    kept = [sample / 32_767 for sample in samples[480:-480]]
    turn = 2 * math.pi * 1_000 / RATE_HZ
    sine = sum(sample * math.sin(turn * index) for index, sample in enumerate(kept)) * 2 / len(kept)
    cosine = sum(sample * math.cos(turn * index) for index, sample in enumerate(kept)) * 2 / len(kept)
    assert math.hypot(sine, cosine) == pytest.approx(0.5, abs=0.005)
    rest = [s - sine * math.sin(turn * i) - cosine * math.cos(turn * i) for i, s in enumerate(kept)]
    return 10 * math.log10(sum(sample**2 for sample in rest) / len(rest) / (0.5**2 / 2))


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_microphone(server: Server, tmp_path: Path, transport: str) -> None:
    recording = tmp_path / "recording.wav"
    recording.write_bytes(file(silence(1.5) + clip("sense_0930"), "wav", "pcm_s16le"))
    async with chromium_page(a_page(server), recording) as page:
        heard = await run(page, "microphone", transport)
    assert said(heard["text"], REFERENCE["sense_0930"]) <= 0.25
    assert heard["loudest"] > 0.02
    assert heard["sizes"] == [960]
    assert heard["silentS"] >= 2
    assert heard["ends"] == [True, True, True]
    assert heard["contexts"] == [[RATE_HZ, "closed"]] * 2
    assert heard["tracks"] == ["ended"]


@pytest.mark.parametrize(
    ("chromium", "code"),
    [
        ({"permissions": False}, "permission_denied"),
        ({"devices": False}, "no_device"),
        ({"flags": ["--host-resolver-rules=MAP other.example 127.0.0.1"]}, "insecure_context"),
    ],
)
async def test_devices_that_cannot_be_used(server: Server, chromium: dict[str, Any], code: str) -> None:
    url = a_page(server)
    if code == "insecure_context":
        url = url.replace("127.0.0.1", "other.example")
    async with chromium_page(url, **chromium) as page:
        problems = await run(page, "devices")
    for device in ("Microphone", "Camera"):
        name, told, message = problems[device]
        assert (name, told) == ("DeviceError", code)
        assert device.lower() in message
    assert ("Speaker" in problems) == (code == "insecure_context")


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_an_answer_is_interrupted(server: Server, transport: str) -> None:
    clips = {name: base64.b64encode((DATA / f"{name}.wav").read_bytes()).decode() for name in ("question", "stop")}
    options = {"instructions": STORIES, "language": "en"}
    async with chromium_page(a_page(server)) as page:
        told = await run(page, "conversation", {"transport": transport, "options": options, **clips})
    events = told["events"]
    assert said(of_kind(events, "final")[0]["text"], REFERENCE["question"]) <= 0.2
    assert told["loudest"] > 0.02
    assert not told["playing"]
    assert told["queuedS"] == 0
    assert told["remote"] == (["audio"] if transport == "webrtc" else None)
    assert not of_kind(events, "replyAudio")
    assert not of_kind(events, "refused")
    (stopped,) = of_kind(events, "playbackStopped")
    assert stopped["cut"]
    truncated = events[-1]
    assert truncated["item"] == of_kind(events, "replyText")[0]["item"]
    assert 500 < truncated["playedMs"] < 20_000


async def test_a_call_finds_another_path(server: Server) -> None:
    detour = Detour()

    def block() -> None:
        detour.blocked = True

    async with chromium_page(a_page(server), tolerated="400 (Bad Request)") as page:
        await detour.lead(page)
        await page.expose_function("block", block)
        told = await run(page, "call")
    detour.close()
    (*refused, unheard) = told["refused"]
    assert refused == [["ServerError", "invalid_value", "session.audio.output.voice"]] * 2
    assert unheard == ["TypeError"]
    events = told["events"]
    assert [event["status"] in ("completed", "incomplete") for event in of_kind(events, "replyDone")] == [True, True]
    assert of_kind(events, "replyText")
    assert [event["attempt"] for event in of_kind(events, "reconnecting")] == [1]
    assert not of_kind(events, "refused")
    assert (told["after"], told["state"]) == ([], "closed")


async def test_keys(guarded_server: Server) -> None:
    async with chromium_page(a_page(guarded_server), tolerated=("401", "Authentication failed")) as page:
        opened = await run(page, "keys")
    answers = {"right-key": "opened", "wrong-key": "invalid_api_key", None: "invalid_api_key"}
    assert opened == [[transport, *answer] for transport in ("websocket", "webrtc") for answer in answers.items()]


async def test_agents_of_openai(server: Server) -> None:
    """Their SDK as it is; on a page without a policy, since it tries out whether it may make code of text."""
    bundle = node_modules() / "@openai" / "agents-realtime" / "dist" / "bundle"

    async def serve(route: Route) -> None:
        await route.fulfill(path=bundle / route.request.url.rpartition("/")[2], content_type="text/javascript")

    clips = {name: base64.b64encode((DATA / f"{name}.wav").read_bytes()).decode() for name in ("question", "stop")}
    async with chromium_page(f"{server.url}/healthz") as page:
        await page.route("**/agents/*", serve)
        told = await run(page, "agents", clips)
    assert told["errors"] == []
    assert said(told["asked"], REFERENCE["question"]) <= 0.2
    assert told["loudest"] > 0.02
    assert told["playedMs"] > 500
    assert {"output_audio_buffer.started", "output_audio_buffer.cleared"} <= set(told["events"])
    assert "response.output_audio.delta" not in told["events"]
