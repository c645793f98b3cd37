"""Calls by WebRTC to a real server. What a small model says is arbitrary: never is its content looked at."""

import asyncio
from typing import Any

import httpx
import pytest
from aioice import Candidate, Connection
from openai import AsyncOpenAI

from tests.e2e.caller_rtc import CALLS, LOOPBACK, SDP, Caller, caller, calling
from tests.e2e.conversing import read_back
from tests.e2e.metrics import idle, metric
from tests.e2e.speech import RATE_HZ, REFERENCE, clip, said, seconds, silence
from tests.server import Server

LONG_WINDED = "Tell me a very long story about a cat, a dog and a horse, with every detail."
KEY = "right-key"
BEARER = {"authorization": f"Bearer {KEY}"}
METRICS = ["rtp_packets_total", "calls_ended_total", "call_round_trip_seconds_count"]
SERVER_VAD = {"type": "server_vad"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


async def test_a_spoken_question_gets_a_spoken_answer(server: Server) -> None:
    async with calling(server.url) as call:
        await call.wait("session.created")
        await call.updated(max_output_tokens=20)
        call.microphone.say(clip("question"))
        item = (await call.wait("input_audio_buffer.committed"))["item_id"]
        response = (await call.wait("response.done"))["response"]
        await call.wait("output_audio_buffer.stopped")
        await asyncio.sleep(0.5)
        question = await call.retrieved(item)
        heard = await read_back(server, call.speaker.pcm)

    kinds = call.heard.kinds
    assert said(question["content"][0]["transcript"], REFERENCE["question"]) <= 0.2
    transcript = response["output"][0]["content"][0]["transcript"]
    assert "".join(event["delta"] for event in call.heard.of("audio_transcript.delta")) == transcript
    assert said(heard, transcript) <= 0.25
    assert "response.output_audio.delta" not in kinds
    assert kinds.index("output_audio_buffer.started") < kinds.index("output_audio_buffer.stopped")
    await idle(server)


async def test_barge_in_stops_the_audio_and_truncates_what_was_said(server: Server) -> None:
    async with calling(server.url) as call:
        await call.updated(audio={"input": {"turn_detection": SERVER_VAD | {"create_response": False}}})
        await call.ask(LONG_WINDED)
        await call.wait("output_audio_buffer.started")
        call.microphone.say(silence(0.5) + clip("stop") + silence(0.5))
        cut = await call.wait("item.truncated")
        heard_until = len(call.speaker.samples)
        item = await call.retrieved(cut["item_id"])
        await call.wait("input_audio_buffer.committed")

    whole = "".join(event["delta"] for event in call.heard.of("audio_transcript.delta"))
    assert call.heard.of("response.done")[0]["response"]["status"] in {"cancelled", "completed"}
    assert len(call.heard.of("output_audio_buffer.cleared")) == 1
    assert not call.heard.of("output_audio_buffer.stopped")
    assert item["status"] == "incomplete"
    assert whole.startswith(item["content"][0]["transcript"])
    assert len(item["content"][0]["transcript"]) < len(whole)
    loud = call.speaker.loud()
    assert loud[-1] < heard_until + 0.3 * RATE_HZ
    audible_ms = (loud[-1] - loud[0]) / RATE_HZ * 1_000
    assert abs(cut["audio_end_ms"] - audible_ms) < 600


async def test_the_client_stops_the_audio(server: Server) -> None:
    async with calling(server.url) as call:
        await call.ask(LONG_WINDED)
        await call.wait("output_audio_buffer.started")
        call.send("output_audio_buffer.clear")
        await call.wait("output_audio_buffer.cleared")
        await call.wait("item.truncated")
        call.send("input_audio_buffer.append", audio="AAAA")
        error = (await call.wait("error"))["error"]
        response = (await call.wait("response.done"))["response"]

    assert (error["code"], error["param"]) == ("unsupported_event", "type")
    assert response["status"] in {"cancelled", "completed"}


async def test_a_transcription_session_by_a_form(server: Server) -> None:
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    before = {name: metric(server, f"millstream_{name}") for name in METRICS}
    async with calling(server.url, session=session) as call:
        created = await call.wait("session.created")
        call.microphone.say(clip("sense_0930"))
        completed = await call.wait("transcription.completed")
    await idle(server)
    told = {name: metric(server, f"millstream_{name}") - before[name] for name in before}

    assert created["session"]["type"] == "transcription"
    assert said(completed["transcript"], REFERENCE["sense_0930"]) <= 0.2
    assert len(call.speaker.loud()) == 0
    assert told["rtp_packets_total"] > seconds(clip("sense_0930")) / 0.02
    assert (told["calls_ended_total"], told["call_round_trip_seconds_count"]) == (1, 1)


async def test_a_key_of_a_web_page_opens_the_session_it_was_made_for(guarded_server: Server) -> None:
    client = AsyncOpenAI(api_key=KEY, base_url=f"{guarded_server.url}/v1")
    session: Any = {"type": "realtime", "instructions": "Be kind.", "audio": {"output": {"voice": "nova"}}}
    secret = await client.realtime.client_secrets.create(session=session)
    async with calling(guarded_server.url, key=secret.value) as call:
        created = (await call.wait("session.created"))["session"]
        location = call.answer.headers["location"]
        web_page = httpx.AsyncClient(base_url=guarded_server.url, headers={"authorization": f"Bearer {secret.value}"})
        elsewhere = [await web_page.get("/v1/models"), await web_page.post("/v1/realtime/client_secrets", json={})]
        hung_up = await web_page.delete(location)
        await call.ended()

    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"
    assert (created["instructions"], created["audio"]["output"]["voice"]) == ("Be kind.", "nova")
    assert [answer.status_code for answer in elsewhere] == [403, 403]
    assert hung_up.status_code == 200
    await idle(guarded_server, KEY)


@pytest.mark.parametrize("key", [None, "ek_forged", "wrong"])
async def test_strangers_may_not_call(guarded_server: Server, key: str | None) -> None:
    async with caller() as call, httpx.AsyncClient() as http:
        headers = SDP | ({"authorization": f"Bearer {key}"} if key else {})
        answer = await http.post(guarded_server.url + CALLS, content=await call.offer(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_the_official_client_calls(server: Server) -> None:
    client = AsyncOpenAI(api_key="unused", base_url=f"{server.url}/v1", max_retries=0)
    async with caller() as call:
        answer = await client.realtime.calls.create(sdp=await call.offer(), session={"type": "realtime"})
        await call.accept((await answer.aread()).decode())
        await call.connected()
        created = await call.wait("session.created")
        location: str = answer.response.headers["location"]
        await client.realtime.calls.hangup(location.rpartition("/")[2])
        await call.ended()

    assert created["session"]["type"] == "realtime"
    assert location.startswith(f"{CALLS}/rtc_")
    await idle(server)


async def test_calls_of_other_web_pages_are_refused(server: Server) -> None:
    async with caller() as call, httpx.AsyncClient() as http:
        headers = SDP | {"origin": "https://foe.example"}
        answer = await http.post(server.url + CALLS, content=await call.offer(), headers=headers)
    assert answer.status_code == 403


async def test_what_is_wrong_with_a_call_is_told(server: Server) -> None:
    async with caller() as call, httpx.AsyncClient(base_url=server.url) as http:
        offer = await call.offer()
        audio = offer[offer.index("m=audio") : offer.index("m=application")]
        form = {"sdp": (None, offer), "session": (None, '{"type": "realtime", "audio": {"output": {"speed": 9}}}')}
        answers = {
            "garbage": await http.post(CALLS, content=b"\xff" * 100, headers=SDP),
            "nothing": await http.post(CALLS, content=b"", headers=SDP),
            "no audio": await http.post(CALLS, content=offer.replace(audio, ""), headers=SDP),
            "two audios": await http.post(CALLS, content=offer.replace(audio, audio * 2), headers=SDP),
            "codecs": await http.post(CALLS, content=offer.replace("opus/", "speex/"), headers=SDP),
            "long": await http.post(CALLS, content=offer + "a=x:y\r\n" * 150_000, headers=SDP),
            "JSON": await http.post(CALLS, json={"sdp": offer}),
            "session": await http.post(CALLS, files=form),
            "no session": await http.post(CALLS, files={"sdp": (None, offer), "session": (None, "{")}),
            "no sdp": await http.post(CALLS, files={"session": (None, "{}")}),
            "unknown call": await http.delete(f"{CALLS}/rtc_gone"),
        }
    told = {name: (answer.status_code, answer.json()["error"]["param"]) for name, answer in answers.items()}
    assert told == {
        "garbage": (400, "sdp"),
        "nothing": (400, "sdp"),
        "no audio": (400, "sdp"),
        "two audios": (400, "sdp"),
        "codecs": (406, "sdp"),
        "long": (413, None),
        "JSON": (415, "content-type"),
        "session": (400, "session.audio.output.speed"),
        "no session": (400, "session"),
        "no sdp": (400, "sdp"),
        "unknown call": (404, "call"),
    }


@pytest.mark.parametrize("message", ["{", "", "[]", b"\x00\xff", '{"type": "nothing"}'])
async def test_garbage_by_the_data_channel_is_answered_with_an_error(server: Server, message: str | bytes) -> None:
    async with calling(server.url) as call:
        await call.wait("session.created")
        call.channel.send(message)
        error = (await call.wait("error"))["error"]
        shown = await call.updated(instructions="Go on.")
    assert error["type"] == "invalid_request_error"
    assert shown["instructions"] == "Go on."


async def test_candidates_may_come_later(server: Server) -> None:
    """The client learns none of the server's, so that only those that it trickles can lead to a connection."""
    async with caller() as call, httpx.AsyncClient(base_url=server.url) as http:
        offer = await call.offer()
        candidates = [line for line in offer.splitlines() if line.startswith("a=candidate")]
        quiet = "".join(
            f"{line}\r\n" for line in offer.splitlines() if not line.startswith(("a=candidate", "a=end-of"))
        )
        answer = await http.post(CALLS, content=quiet, headers=SDP)
        deaf = [line for line in answer.text.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
        await call.accept("".join(f"{line}\r\n" for line in deaf))
        location, etag = answer.headers["location"], answer.headers["etag"]
        fragment = "\r\n".join([*candidates, "a=end-of-candidates", ""])
        stale = await http.patch(location, content=fragment, headers=FRAGMENT | {"if-match": '"other"'})
        taken = await http.patch(location, content=fragment, headers=FRAGMENT | {"if-match": etag})
        await call.connected()
        bad = await http.patch(location, content="a=candidate:nonsense", headers=FRAGMENT)
        wrong = await http.patch(location, content=fragment, headers=SDP)
        late = await http.patch(location, content=fragment, headers=FRAGMENT)
        await call.wait("session.created")
        gone = await http.delete(location)
        await call.ended()

    assert answer.headers["accept-patch"] == FRAGMENT["content-type"]
    assert (stale.status_code, taken.status_code) == (412, 204)
    assert (bad.status_code, wrong.status_code, late.status_code, gone.status_code) == (400, 415, 204, 200)
    await idle(server)


async def test_ice_restarts_while_media_goes_on(server: Server) -> None:
    """Once while the client hears, and once while it is heard."""
    async with calling(server.url) as call, httpx.AsyncClient(base_url=server.url) as http:
        location, etag = call.answer.headers["location"], call.answer.headers["etag"]
        heard = {"turn_detection": SERVER_VAD | {"create_response": False}, "transcription": {"model": "whisper-1"}}
        await call.updated(max_output_tokens=16, audio={"input": heard})
        await call.ask(LONG_WINDED)
        await call.wait("output_audio_buffer.started")
        await _restarted(call, http, location)
        await call.wait("output_audio_buffer.stopped")
        await asyncio.sleep(0.5)
        transcript = (await call.wait("response.done"))["response"]["output"][0]["content"][0]["transcript"]
        told = await read_back(server, call.speaker.pcm)
        call.microphone.say(clip("question"))
        await call.wait("input_audio_buffer.speech_started")
        answer = await _restarted(call, http, location)
        question = (await call.wait("transcription.completed"))["transcript"]
        stale = await http.patch(location, content="", headers=FRAGMENT | {"if-match": etag})
        current = await http.patch(location, content="", headers=FRAGMENT | {"if-match": answer.headers["etag"]})

    assert said(told, transcript) <= 0.25
    assert said(question, REFERENCE["question"]) <= 0.2
    assert (stale.status_code, current.status_code) == (412, 204)
    await idle(server)


def without_candidates(sdp: str) -> str:
    """A description of a client that is still looking for its candidates."""
    lines = [line for line in sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
    return "\r\n".join([*lines, ""])


async def _restarted(call: Caller, http: httpx.AsyncClient, location: str) -> httpx.Response:
    """Ask for another path, and take it."""
    path = Connection(ice_controlling=True)
    await path.gather_candidates()
    credentials = [f"a=ice-ufrag:{path.local_username}", f"a=ice-pwd:{path.local_password}"]
    candidates = [f"a=candidate:{candidate.to_sdp()}" for candidate in path.local_candidates]
    fragment = "\r\n".join([*credentials, *candidates, "a=end-of-candidates", ""])
    answer = await http.patch(location, content=fragment, headers=FRAGMENT)
    assert answer.status_code == 200, answer.text
    fields = [line.partition(":")[::2] for line in answer.text.splitlines()]
    path.remote_username, path.remote_password = dict(fields)["a=ice-ufrag"], dict(fields)["a=ice-pwd"]
    for name, value in fields:
        if name == "a=candidate" and value.split()[4] == LOOPBACK:
            await path.add_remote_candidate(Candidate.from_sdp(value))
    await call.move(path)
    return answer
