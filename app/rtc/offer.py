"""SDP offers of clients (RFC 8829), and what is wrong with some."""

from dataclasses import dataclass

from aiortc import RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription

from app.errors import ApiError

MAX_SDP_BYTES = 64 * 1024


@dataclass(frozen=True)
class Offer:
    """A client's offer, with at most one audio and one video track."""

    sdp: str
    kinds: tuple[str, ...]
    """What its sections are of, `audio` and `video` once at most. Tracks are added in this order: the first of a bundle
    has the transport.
    """
    channels: bool
    """Whether the client may open data channels."""

    @property
    def description(self) -> RTCSessionDescription:
        """As aiortc takes it."""
        return RTCSessionDescription(self.sdp, "offer")


def read_offer(text: bytes) -> Offer:
    """Raises ApiError, which says what an offer needs."""
    if len(text) > MAX_SDP_BYTES:
        raise ApiError(413, "sdp_too_large", f"an offer has at most {MAX_SDP_BYTES} bytes", "sdp")
    try:
        sdp = text.decode()
        description = SessionDescription.parse(sdp)
    except Exception as error:  # the parser raises whatever comes of a line that it does not expect
        raise _bad(f"the SDP cannot be read: {error!r}") from None
    kinds = [part.kind for part in description.media]
    for kind in ("audio", "video", "application"):
        if kinds.count(kind) > 1:
            raise _bad(f"an offer has at most one {kind} section, this one has {kinds.count(kind)}")
    if not {"audio", "video"}.intersection(kinds):
        raise _bad("an offer needs an audio or a video section")
    _check_bundle(description)
    for part in description.media:
        _check_section(part)
    return Offer(sdp, tuple(kind for kind in kinds if kind != "application"), "application" in kinds)


def _check_bundle(description: SessionDescription) -> None:
    """All sections share one transport (RFC 9143), as every browser has it."""
    sections = [part.rtp.muxId or "" for part in description.media]
    bundles = [group.items for group in description.group if group.semantic == "BUNDLE"]
    if (bundles or len(sections) > 1) and [set(bundle) for bundle in bundles] != [set(sections)]:
        raise _bad(f"a=group:BUNDLE must name every section: {' '.join(sections)}")
    if len(set(sections)) < len(sections):
        raise _bad("a=mid: sections need names of their own")


def _check_section(part: MediaDescription) -> None:
    if part.ice is None or not part.ice.usernameFragment or not part.ice.password:
        raise _bad(f"the {part.kind} section has no ICE credentials")
    if part.dtls is None or not part.dtls.fingerprints:
        raise _bad(f"the {part.kind} section has no DTLS fingerprint")
    codecs = {codec.name.lower() for codec in part.rtp.codecs}
    if part.kind == "audio" and "opus" not in codecs:
        raise _unsupported("audio", "Opus", codecs)
    if part.kind == "video" and not codecs & {"vp8", "h264"}:
        raise _unsupported("video", "VP8 or H.264", codecs)


def _bad(message: str) -> ApiError:
    return ApiError(400, "invalid_sdp", message, "sdp")


def _unsupported(kind: str, wanted: str, codecs: set[str]) -> ApiError:
    offered = ", ".join(sorted(codecs)) or "none"
    return ApiError(406, "unsupported_codec", f"the {kind} section needs {wanted}; it offers {offered}", "sdp")
