"""`millstream.sync` against a real server: the same without `async`."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from millstream import Final, Reconnect, ReplyDone, ServerError, ToolResult, sync
from tests.e2e.speech import REFERENCE, clip, said, seconds, silence
from tests.server import Server

NAME = "sense_0890"
PIECE = 4_800


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """No test leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread


def pieces(pcm: bytes) -> Iterator[bytes]:
    yield from (pcm[start : start + PIECE] for start in range(0, len(pcm), PIECE))


def test_transcribe(server: Server) -> None:
    with sync.transcribe(server.url, language="en") as transcription:
        finals = [event.text for event in transcription.hear(pieces(clip(NAME))) if isinstance(event, Final)]
    assert said(" ".join(finals), REFERENCE[NAME]) <= 0.15


def test_send_on_another_thread(server: Server) -> None:
    with sync.transcribe(server.url, language="en") as transcription:

        def send() -> None:
            transcription.send(clip(NAME))
            transcription.finish()

        sender = threading.Thread(target=send)
        sender.start()
        finals = [event.text for event in transcription if isinstance(event, Final)]
        sender.join()
    assert said(" ".join(finals), REFERENCE[NAME]) <= 0.15


def test_what_goes_wrong_with_the_audio_is_raised(server: Server) -> None:
    def broken() -> Iterator[bytes]:
        yield silence(0.1)
        raise RuntimeError("no more microphone")

    with sync.transcribe(server.url) as transcription, pytest.raises(RuntimeError, match="no more microphone"):
        list(transcription.hear(broken()))


def test_converse(server: Server) -> None:
    """A tool is called on a thread, and its result replied to."""

    def get_weather(city: str) -> dict[str, object]:
        """Look up the weather."""
        return {"city": city, "sky": "clear", "thread": threading.current_thread().name}

    with sync.converse(server.url, text_only=True, tools=[get_weather]) as conversation:
        conversation.update({"max_output_tokens": 48})
        conversation.send_text("What is the weather in Paris?", tool_choice="required")
        results, replies = [], 0
        for event in conversation:
            match event:
                case ToolResult():
                    results.append(event)
                case ReplyDone():
                    replies += 1
            if replies == 2:
                break
    result = results[0]
    assert (result.name, result.failed) == ("get_weather", False)
    assert '"sky": "clear"' in result.output


def test_speak(server: Server) -> None:
    with sync.speak("Yes, of course.", server.url) as speech:
        assert 0.5 < seconds(b"".join(speech)) < 3
    with sync.speak(url=server.url) as speech:
        speech.send("Yes, of course. And then it was late. ")
        assert next(iter(speech))
        speech.cancel()
        assert list(speech) == []


def test_refused(server: Server) -> None:
    with (
        pytest.raises(ServerError) as caught,
        sync.converse(server.url, voice="nobody", reconnect=Reconnect(attempts=1)),
    ):
        pass
    assert caught.value.param == "session.audio.output.voice"


def test_left_while_events_come(server: Server) -> None:
    with sync.transcribe(server.url) as transcription:
        for _ in islice(transcription.hear(pieces(clip(NAME) * 3)), 2):
            pass


def test_interrupted_by_the_keyboard(server: Server) -> None:
    """Whoever waits for an event that does not come can still press Ctrl-C."""
    program = f"""
import millstream.sync
with millstream.sync.transcribe({server.url!r}) as transcription:
    print("listening", flush=True)
    next(iter(transcription))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"listening\n"
        os.kill(waiting.pid, signal.SIGINT)
        _, errors = waiting.communicate(timeout=60)
    assert errors.splitlines()[-1] == b"KeyboardInterrupt"
