"""Settings of a gateway and of `millstream serve`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from workers.settings import CommonSettings

MIB = 2**20


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class IceServer(BaseModel):
    """An RTCIceServer of WebRTC."""

    urls: list[str]
    username: str | None = None
    credential: SecretStr | None = None

    @property
    def secret(self) -> str | None:
        """The credential itself."""
        return self.credential.get_secret_value() if self.credential is not None else None


class Settings(CommonSettings):
    """Where to listen, whom to serve, and the bounds on what one client may take."""

    host: str = Field("127.0.0.1", description="Address to bind. A public one needs an API key.")
    port: int = Field(8000, ge=0, le=65535, description="Port to bind.")
    tls_certificate: Path | None = Field(None, description="PEM file; serve HTTPS and WSS.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    api_keys: list[SecretStr] = Field([], description="Keys that clients may use; none needed on loopback.")
    allowed_origins: list[str] = Field(
        [], description="Origins of web pages, besides the server's own, that may connect; '*' for any."
    )
    transcriber: str = Field("whisper-base", description="Name under which the recogniser is offered to clients.")
    language_model: str = Field(
        "smollm2-135m-instruct", description="Name under which the language model is offered to clients."
    )
    speaker: str = Field("kokoro", description="Name under which speech synthesis is offered to clients.")
    workers: dict[str, int] = Field(
        {"listen": 1, "think": 1, "speak": 1, "restyle": 1},
        description="Services that `serve` starts, and how many of each.",
    )

    otlp_endpoint: str | None = Field(
        None, description="OTLP/HTTP address for traces, for instance http://127.0.0.1:4318/v1/traces."
    )

    ice_servers: list[IceServer] = Field(
        [], description="STUN and TURN servers of WebRTC, as browsers take them; clients are told of them."
    )
    ice_timeout_s: float = Field(20.0, gt=0, description="A WebRTC client must be connected within this time.")
    max_sessions: int = Field(256, ge=1, description="Sessions and requests in progress on one gateway.")
    claim_timeout_s: float = Field(2.0, gt=0, description="How long a session waits for a worker's free slot.")
    recovery_timeout_s: float = Field(
        20.0, gt=0, description="How long a session whose worker died waits for another one."
    )
    session_max_s: float = Field(3600.0, gt=0, description="Longest life of a session.")
    idle_timeout_s: float = Field(300.0, gt=0, description="A client silent for so long is disconnected.")
    send_timeout_s: float = Field(20.0, gt=0, description="A client that does not read for so long is disconnected.")
    events_per_s: int = Field(500, ge=1, description="Client events per second; faster clients are slowed down.")
    max_upload_bytes: int = Field(200 * MIB, ge=1, description="Largest audio file of a REST request.")
    max_json_bytes: int = Field(4 * MIB, ge=1, description="Largest JSON body of a REST request.")
    max_speech_chars: int = Field(50_000, ge=1, description="Longest text of a REST request for speech.")
    request_timeout_s: float = Field(3600.0, gt=0, description="Longest life of a REST request.")

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        if not all(key.get_secret_value().strip() for key in self.api_keys):
            raise ValueError("api_keys: a key must not be empty")
        if not is_loopback(self.host) and not self.api_keys:
            hint = "set MILLSTREAM_API_KEYS='[\"...\"]'"
            raise ValueError(f"refusing to serve on {self.host} without an API key: {hint}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self
