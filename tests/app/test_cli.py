"""`millstream ...`, as people run it."""

import os
import re
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from tests.e2e.speech import DATA, REFERENCE, clip, file, in_a_row, said, words
from tests.server import Server, free_port

NAME = "sense_0870"
FILE = DATA / f"{NAME}.wav"
DURATION_S = 7.1
HUNG_S = 100.0
SENTENCE = "The kettle is on the table."
LINE = re.compile(r"^ *(?P<at>\d+\.\d) s  (?P<text>.*)$")
MILLSTREAM = Path(sys.executable).with_name("millstream")


def millstream(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {"NO_COLOR": "1", "COLUMNS": "200", **environment}
    return subprocess.run(
        [MILLSTREAM, *arguments], env={**os.environ, **plain}, capture_output=True, text=True, timeout=HUNG_S
    )


def lines(output: str) -> list[tuple[float, str]]:
    """When each line was printed, in seconds after the start, and what it says."""
    found = [LINE.match(line) for line in output.splitlines()]
    return [(float(line["at"]), line["text"]) for line in found if line]


# --- transcribe ---


def test_words_while_they_are_spoken(server: Server) -> None:
    started = time.monotonic()
    run = millstream("transcribe", str(FILE), "--url", server.url)
    took_s = time.monotonic() - started

    assert (run.returncode, run.stderr) == (0, "")
    assert took_s > DURATION_S
    *partials, (_, final) = lines(run.stdout)
    early = [text for at, text in partials if at < DURATION_S - 1]
    assert early
    assert len(early[-1].split()) >= 5
    assert said(final, REFERENCE[NAME]) <= 0.1


def test_fast(server: Server, tmp_path: Path) -> None:
    """Faster than it is played: that would take longer than `millstream` may."""
    names = ["sense_0870", "sense_0890", "sense_0920"]
    path = tmp_path / "talk.mp3"
    path.write_bytes(file(in_a_row(names, HUNG_S), "mp3", "libmp3lame"))
    run = millstream(
        *("transcribe", str(path), "--fast", "--language", "en"),
        *("--lookahead", "480ms", "--phrase", "Dashwood", "--phrase", "Norland"),
        MILLSTREAM_URL=server.url,
    )

    assert (run.returncode, run.stderr) == (0, "")
    finals = [text for _, text in lines(run.stdout) if not text.endswith("…")]
    assert len(finals) == 3
    assert said(" ".join(finals), words(names)) <= 0.15


def test_sound_of_a_video(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    path.write_bytes(file(clip(NAME), "mp4", "aac", 44_100, 2, video=True))
    run = millstream("transcribe", str(path), "--fast", "--url", server.url)
    assert said(lines(run.stdout)[-1][1], REFERENCE[NAME]) <= 0.1


@pytest.mark.parametrize("data", [b"", b"This is not audio. " * 100])
def test_file_that_is_no_audio(server: Server, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(data)
    run = millstream("transcribe", str(path), "--url", server.url)
    assert_told(run, 1, "notes.txt")


def test_video_without_sound(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "silent.png"
    path.write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
            "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
        )
    )
    run = millstream("transcribe", str(path), "--url", server.url)
    assert_told(run, 1, "silent.png")


def test_no_such_file() -> None:
    run = millstream("transcribe", "nothing.wav")
    assert_told(run, 2, "nothing.wav")


def test_neither_file_nor_microphone() -> None:
    run = millstream("transcribe")
    assert_told(run, 2, "--mic")


@pytest.mark.parametrize("lookahead", ["81ms", "fast", ""])
def test_bad_lookahead(lookahead: str) -> None:
    run = millstream("transcribe", str(FILE), "--lookahead", lookahead)
    assert_told(run, 2, "--lookahead")
    assert "0ms, 80ms, 480ms, 1040ms" in run.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1"])
def test_bad_url(url: str) -> None:
    assert_told(millstream("transcribe", str(FILE), "--url", url), 2, "--url")


def test_no_millstream_server(server: Server) -> None:
    run = millstream("transcribe", str(FILE), "--url", f"{server.url}/elsewhere")
    assert_told(run, 1, "refused")


def test_no_server() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    run = millstream("transcribe", str(FILE), "--url", url)
    assert_told(run, 1, url)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_wrong_key(guarded_server: Server, key: str | None) -> None:
    offered = {"MILLSTREAM_API_KEY": key} if key else {}
    run = millstream("transcribe", str(FILE), "--url", guarded_server.url, **offered)
    assert_told(run, 1, "key")


def test_right_key(guarded_server: Server) -> None:
    run = millstream("transcribe", str(FILE), "--fast", "--url", guarded_server.url, "--api-key", "right-key")
    assert said(lines(run.stdout)[-1][1], REFERENCE[NAME]) <= 0.1


def test_unknown_language(server: Server) -> None:
    run = millstream("transcribe", str(FILE), "--url", server.url, "--language", "klingon")
    assert_told(run, 1, "klingon")


def assert_told(run: subprocess.CompletedProcess[str], code: int, word: str) -> None:
    """The command failed with a short message that names the trouble."""
    assert run.returncode == code, run.stderr
    assert word in run.stderr
    assert "Traceback" not in run.stderr
    assert len(run.stderr.splitlines()) <= 8


# --- say and voices ---


def transcript(server: Server, path: Path) -> str:
    """What is said in a file."""
    run = millstream("transcribe", str(path), "--fast", "--language", "en", "--url", server.url)
    assert run.returncode == 0, run.stderr
    return " ".join(text for _, text in lines(run.stdout) if not text.endswith("…"))


@pytest.mark.parametrize("name", ["speech.wav", "speech.ogg"])
def test_say_to_a_file(server: Server, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    run = millstream("say", SENTENCE, "-o", str(path), "--voice", "nova", "--speed", "0.9", "--url", server.url)
    assert (run.returncode, run.stderr, run.stdout) == (0, "", "")
    assert said(transcript(server, path), SENTENCE) == 0


def test_say_what_comes_in(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "speech"
    run = subprocess.run(
        [MILLSTREAM, "say", "-", "-o", path, "--format", "wav", "--url", server.url],
        input=SENTENCE,
        text=True,
        capture_output=True,
        timeout=HUNG_S,
    )
    assert (run.returncode, run.stderr) == (0, "")
    with wave.open(str(path)) as written:
        assert 1.0 < written.getnframes() / written.getframerate() < 4.0


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("-o", "speech.wav", "--voice", "nobody"), 1, "nobody"),
        (("-o", "speech.doc"), 2, "speech.doc"),
        (("-o", "speech.wav", "--format", "midi"), 2, "midi"),
        (("-o", "speech.wav", "--speed", "9"), 2, "speed"),
        (("-o", "no/such/directory/speech.wav"), 1, "no/such/directory/speech.wav"),
        (("-o", "speech.wav", "--url", "ftp://127.0.0.1"), 2, "--url"),
    ],
)
def test_say_what_cannot_be(
    server: Server, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_told(millstream("say", SENTENCE, *arguments, MILLSTREAM_URL=server.url), code, word)
    assert list(tmp_path.iterdir()) == []


def test_say_without_a_server(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert_told(millstream("say", SENTENCE, "-o", str(tmp_path / "a.wav"), "--url", url), 1, url)


def test_say_elsewhere(server: Server, tmp_path: Path) -> None:
    run = millstream("say", SENTENCE, "-o", str(tmp_path / "a.wav"), "--url", f"{server.url}/elsewhere")
    assert_told(run, 1, "refused")


def test_say_needs_the_key(guarded_server: Server, tmp_path: Path) -> None:
    path = str(tmp_path / "a.mp3")
    assert_told(millstream("say", "Yes.", "-o", path, "--url", guarded_server.url), 1, "key")
    run = millstream("say", "Yes.", "-o", path, "--url", guarded_server.url, "--api-key", "right-key")
    assert run.returncode == 0, run.stderr


def test_voices() -> None:
    run = millstream("voices")
    assert (run.returncode, run.stderr) == (0, "")
    for name in ("af_heart", "bm_george", "alloy", "en-GB"):
        assert name in run.stdout


# --- talk ---


def test_talk(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "reply.wav"
    question = DATA / "sense_0930.wav"
    run = millstream(
        "talk", str(question), "-o", str(path), "--instructions", "Answer in three words.", "--url", server.url
    )
    assert (run.returncode, run.stderr) == (0, "")
    told = [text for _, text in lines(run.stdout)]
    forming = [text for text in told if text.startswith("> ") and text.endswith("…")]
    (question_text,) = [text for text in told if text.startswith("> ") and not text.endswith("…")]
    reply = [text.removeprefix("< ") for text in told if text.startswith("< ")]
    assert forming
    assert said(question_text, REFERENCE["sense_0930"]) <= 0.1
    assert len([text for text in told if "from the end of speech" in text]) == 1
    assert said(transcript(server, path), " ".join(reply)) <= 0.3


def test_talk_to_a_file_without_speech(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    path.write_bytes(file(bytes(24_000), "wav", "pcm_s16le"))
    run = millstream("talk", str(path), "-o", str(tmp_path / "reply.wav"), "--url", server.url)
    assert_told(run, 1, "no speech")
    assert [found.name for found in tmp_path.iterdir()] == ["silence.wav"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((), 2, "--mic"),
        ((str(FILE), "--mic"), 2, "--mic"),
        (("--mic", "-o", "reply.wav"), 2, "-o"),
        ((str(FILE), "--push-to-talk"), 2, "--push-to-talk"),
        ((str(FILE), "-o", "no/such/directory/reply.wav"), 1, "no/such/directory"),
        ((str(FILE), "-o", "reply.wav", "--voice", "nobody"), 1, "nobody"),
        ((str(FILE), "-o", "reply.wav", "--language", "klingon"), 1, "klingon"),
        ((str(FILE), "-o", "reply.wav", "--lookahead", "5ms"), 2, "--lookahead"),
        ((str(FILE), "-o", "reply.wav", "--phrase", "x" * 101), 1, "keywords"),
        (("nothing.wav",), 2, "nothing.wav"),
    ],
)
def test_talk_that_cannot_be(
    server: Server, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_told(millstream("talk", *arguments, MILLSTREAM_URL=server.url), code, word)
    assert list(tmp_path.iterdir()) == []


def test_talk_interrupted_by_the_keyboard(server: Server, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    with wave.open(str(FILE)) as spoken, wave.open(str(long), "wb") as longer:
        longer.setparams(spoken.getparams())
        longer.writeframes(spoken.readframes(-1))
        longer.writeframes(bytes(60 * spoken.getframerate() * spoken.getsampwidth()))
    arguments = [str(MILLSTREAM), "talk", str(long), "-o", str(tmp_path / "reply.wav"), "--url", server.url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as talking:
        assert talking.stdout is not None
        assert talking.stderr is not None
        assert talking.stdout.readline()
        talking.send_signal(signal.SIGINT)
        assert talking.wait(HUNG_S) == 130
        assert "Traceback" not in talking.stderr.read()


# --- models ---


def test_list_models() -> None:
    run = millstream("models", "list")
    assert (run.returncode, run.stderr) == (0, "")
    for name, licence in [("silero-vad", "MIT"), ("smart-turn", "BSD-2-Clause"), ("whisper-base", "MIT")]:
        (row,) = [line for line in run.stdout.splitlines() if name in line]
        assert licence in row


def test_verify_models(server: Server) -> None:
    served = {"silero-vad", "smart-turn", "whisper-base"}
    run = millstream("models", "verify", *served)
    assert run.returncode == 0, run.stdout
    assert {line.split(":")[0] for line in run.stdout.splitlines()} == served


def test_verify_missing_models(tmp_path: Path) -> None:
    run = millstream("models", "verify", "silero-vad", MILLSTREAM_CACHE_DIR=str(tmp_path))
    assert run.returncode == 1
    assert "missing" in run.stdout
    unknown = millstream("models", "verify", "no-such-model")
    assert_told(unknown, 1, "no-such-model")


# --- serve ---


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_public_address_needs_a_key(command: str, tmp_path: Path) -> None:
    run = millstream(command, "--host", "0.0.0.0", "--port", str(free_port()))
    assert_told(run, 2, "0.0.0.0")
    assert "MILLSTREAM_API_KEYS" in run.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [("port", "http"), ("port", "70000"), ("api_keys", "secret"), ("workers", "[]"), ("claim_timeout_s", "-1")],
)
def test_bad_setting_is_named(setting: str, value: str) -> None:
    run = millstream("serve", **{f"MILLSTREAM_{setting.upper()}": value})
    assert_told(run, 2, setting)


@pytest.mark.parametrize(("setting", "value"), [("slots", "0"), ("threads", "many")])
def test_bad_setting_of_a_worker_is_named(setting: str, value: str) -> None:
    environment = {f"MILLSTREAM_{setting.upper()}": value, "MILLSTREAM_REDIS_URL": "redis://127.0.0.1:1"}
    run = millstream("worker", "listen", **environment)
    assert_told(run, 2, setting)


def test_worker_settings_are_checked_before_anything_starts() -> None:
    assert_told(millstream("serve", MILLSTREAM_SLOTS="0"), 2, "slots")


def test_broken_settings_file(tmp_path: Path) -> None:
    (tmp_path / "millstream.toml").write_text("port = ")
    run = subprocess.run([MILLSTREAM, "serve"], cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_S)
    assert_told(run, 2, "millstream.toml")


@pytest.mark.parametrize("command", [("gateway",), ("worker", "listen")])
def test_parts_need_a_redis(command: tuple[str, ...]) -> None:
    run = millstream(*command)
    assert_told(run, 1, "MILLSTREAM_REDIS_URL")


def test_address_in_use(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    run = millstream("gateway", "--port", port, MILLSTREAM_REDIS_URL="redis://127.0.0.1:1")
    assert_told(run, 1, port)


def test_unknown_service() -> None:
    run = millstream("worker", "dream", MILLSTREAM_REDIS_URL="redis://127.0.0.1:1")
    assert_told(run, 1, "dream")


def test_help() -> None:
    run = millstream("--help")
    assert run.returncode == 0
    for command in ("serve", "gateway", "worker", "transcribe", "talk", "say", "voices", "models"):
        assert command in run.stdout
