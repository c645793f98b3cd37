"""`millstream ...`, as people run it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.speech import DATA, REFERENCE, clip, file, in_a_row, said, words
from tests.server import Server, free_port

NAME = "sense_0870"
FILE = DATA / f"{NAME}.wav"
DURATION_S = 7.1
HUNG_S = 60.0
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
    names = ["sense_0870", "sense_0890", "sense_0920"]
    path = tmp_path / "talk.mp3"
    path.write_bytes(file(in_a_row(names, 1.0), "mp3", "libmp3lame"))
    started = time.monotonic()
    run = millstream("transcribe", str(path), "--fast", "--language", "en", MILLSTREAM_URL=server.url)
    took_s = time.monotonic() - started

    assert (run.returncode, run.stderr) == (0, "")
    assert took_s < 15
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
    for command in ("serve", "gateway", "worker", "transcribe", "models"):
        assert command in run.stdout
