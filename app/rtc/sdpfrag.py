"""Fragments of SDP that trickle candidates (RFC 8840), as WHIP and WHEP send them (RFC 9725 section 4.3)."""

import re
from dataclasses import dataclass, field

from aioice import Connection
from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from app.errors import ApiError

MAX_CANDIDATES = 64
MAX_FRAGMENT_BYTES = 16 * 1024
_USERNAME = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
"""`ice-ufrag` and `ice-pwd` of RFC 8839 section 5.4."""


@dataclass
class Fragment:
    """What a fragment says: candidates, their end, and the credentials that they belong to, both or neither."""

    candidates: list[RTCIceCandidate] = field(default_factory=list)
    complete: bool = False
    username: str | None = None
    password: str | None = None


def read_fragment(text: bytes) -> Fragment:
    """Raises ApiError."""
    fragment = Fragment()
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError as error:
        raise _bad(str(error)) from None
    for line in lines:
        name, _, value = line.partition(":")
        match name:
            case "a=candidate":
                fragment.candidates.append(_candidate(value))
            case "a=end-of-candidates":
                fragment.complete = True
            case "a=ice-ufrag":
                fragment.username = _matching(_USERNAME, name, value.strip())
            case "a=ice-pwd":
                fragment.password = _matching(_PASSWORD, name, value.strip())
    if len(fragment.candidates) > MAX_CANDIDATES:
        raise _bad(f"at most {MAX_CANDIDATES} candidates")
    if (fragment.username is None) != (fragment.password is None):
        raise _bad("a=ice-ufrag and a=ice-pwd go together")
    return fragment


def write_fragment(connection: Connection, mid: str) -> bytes:
    """Our credentials and candidates, which hold for the bundle of which `mid` is the first."""
    lines = [f"a=ice-ufrag:{connection.local_username}", f"a=ice-pwd:{connection.local_password}"]
    lines += ["m=audio 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
    lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in connection.local_candidates]
    return "\r\n".join([*lines, "a=end-of-candidates", ""]).encode()


def _candidate(value: str) -> RTCIceCandidate:
    try:
        return candidate_from_sdp(value)
    except (AssertionError, ValueError, IndexError) as error:
        raise _bad(f"candidate:{value[:100]}: {error}") from None


def _matching(pattern: re.Pattern[str], name: str, value: str) -> str:
    if not pattern.fullmatch(value):
        raise _bad(f"{name}: expected {pattern.pattern}")
    return value


def _bad(message: str) -> ApiError:
    return ApiError(400, "invalid_sdp_fragment", message, "sdp")
