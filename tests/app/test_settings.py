import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from app.settings import Settings, is_loopback


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("MILLSTREAM_"):
            monkeypatch.delenv(name)
    return tmp_path


def fields(error: pytest.ExceptionInfo[ValidationError]) -> list[str]:
    return [".".join(map(str, problem["loc"])) for problem in error.value.errors()]


def test_defaults_serve_this_machine_only() -> None:
    settings = Settings()
    assert is_loopback(settings.host)
    assert settings.api_keys == []
    assert settings.allowed_origins == []
    assert settings.redis_url is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "2001:db8::1", "example.org", ""])
def test_a_public_address_needs_a_key(host: str) -> None:
    with pytest.raises(ValidationError, match="API key") as error:
        Settings(host=host)
    assert "MILLSTREAM_API_KEYS" in str(error.value)
    assert f"refusing to serve on {host}" in str(error.value)
    assert Settings(host=host, api_keys=[SecretStr("secret")]).host == host


def test_certificate_and_key_go_together() -> None:
    with pytest.raises(ValidationError, match="tls_certificate and tls_key"):
        Settings(tls_certificate=Path("cert.pem"))
    with pytest.raises(ValidationError, match="tls_certificate and tls_key"):
        Settings(tls_key=Path("key.pem"))
    assert Settings(tls_certificate=Path("cert.pem"), tls_key=Path("key.pem")).tls_key == Path("key.pem")


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_PORT", "9001")
    monkeypatch.setenv("MILLSTREAM_API_KEYS", '["one", "two"]')
    monkeypatch.setenv("MILLSTREAM_WORKERS", '{"listen": 2}')
    monkeypatch.setenv("MILLSTREAM_REDIS_URL", "redis://elsewhere")
    settings = Settings()
    assert settings.port == 9001
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.workers == {"listen": 2}
    assert settings.redis_url == "redis://elsewhere"


def test_the_file_is_read(directory: Path) -> None:
    (directory / "millstream.toml").write_text(
        """
        port = 9002
        allowed_origins = ["https://app.example"]
        idle_timeout_s = 12.5
        slots = 4

        [workers]
        listen = 3
        """
    )
    settings = Settings()
    assert settings.port == 9002
    assert settings.allowed_origins == ["https://app.example"]
    assert settings.idle_timeout_s == 12.5
    assert settings.workers == {"listen": 3}


def test_options_win_over_the_environment_and_that_over_the_file(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "millstream.toml").write_text('port = 9001\ntranscriber = "file"\nlog_level = "DEBUG"\n')
    monkeypatch.setenv("MILLSTREAM_PORT", "9002")
    monkeypatch.setenv("MILLSTREAM_TRANSCRIBER", "environment")
    settings = Settings(port=9003)
    assert (settings.port, settings.transcriber, settings.log_level) == (9003, "environment", "DEBUG")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "-1"),
        ("port", "http"),
        ("max_sessions", "0"),
        ("claim_timeout_s", "0"),
        ("session_max_s", "-1"),
        ("idle_timeout_s", "soon"),
        ("events_per_s", "0"),
        ("max_upload_bytes", "0"),
        ("workers", '{"listen": "many"}'),
        ("allowed_origins", '"https://app.example"'),
    ],
)
def test_bad_values_name_the_field(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MILLSTREAM_{name.upper()}", value)
    with pytest.raises(ValidationError) as error:
        Settings()
    assert fields(error)[0].split(".")[0] == name


def test_bad_values_in_the_file_name_the_field(directory: Path) -> None:
    (directory / "millstream.toml").write_text("port = 'high'\nevents_per_s = 0\n")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert sorted(fields(error)) == ["events_per_s", "port"]


@pytest.mark.parametrize("name", ["api_keys", "allowed_origins", "workers"])
def test_lists_that_are_no_json_name_the_field(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"MILLSTREAM_{name.upper()}", "not json")
    with pytest.raises(SettingsError, match=name) as error:
        Settings()
    assert "not json" not in str(error.value)


def test_keys_do_not_show() -> None:
    settings = Settings(api_keys=[SecretStr("hush-hush")])
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.model_dump())


@pytest.mark.parametrize("key", ["", "  "])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="a key must not be empty"):
        Settings(host="0.0.0.0", api_keys=[SecretStr(key)])
