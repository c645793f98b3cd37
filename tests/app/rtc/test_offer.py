import re
from contextlib import suppress
from typing import Literal

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ApiError
from app.rtc.offer import MAX_SDP_BYTES, read_offer
from app.rtc.sdpfrag import MAX_CANDIDATES, Fragment, read_fragment

HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
ICE = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
DTLS = f"a=fingerprint:sha-256 {':'.join(['AA'] * 32)}\r\na=setup:actpass\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n"
CANDIDATE = "candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host"
UFRAG, PASSWORD = "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv"


def offer(*sections: str, bundle: str | None = None) -> bytes:
    mids = bundle or " ".join(re.findall("a=mid:(.)", "".join(sections)))
    return (f"{HEAD}a=group:BUNDLE {mids}\r\n" + "".join(section + ICE + DTLS for section in sections)).encode()


async def stock_offer(*kinds: Literal["audio", "video"], channel: bool = False) -> bytes:
    """As aiortc makes it."""
    connection = RTCPeerConnection(RTCConfiguration([]))
    for kind in kinds:
        connection.addTransceiver(kind)
    if channel:
        connection.createDataChannel("oai-events")
    sdp = (await connection.createOffer()).sdp
    await connection.close()
    return sdp.encode()


def refused(sdp: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read_offer(sdp)
    assert caught.value.param == "sdp"
    return caught.value


async def test_what_an_offer_has() -> None:
    both = read_offer(await stock_offer("video", "audio", channel=True))
    assert (set(both.kinds), both.channels) == ({"video", "audio"}, True)
    assert both.description.type == "offer"
    sound = read_offer(await stock_offer("audio"))
    assert (sound.kinds, sound.channels) == (("audio",), False)


@pytest.mark.parametrize(
    ("sdp", "status", "message"),
    [
        (b"\xff\xfe", 400, "cannot be read"),
        (b"hello", 400, "an audio or a video section"),
        (b"", 400, "an audio or a video section"),
        (HEAD.encode(), 400, "an audio or a video section"),
        (offer(AUDIO, VIDEO, bundle="0"), 400, "must name every section: 0 1"),
        (offer(AUDIO, VIDEO, bundle="2 0 1"), 400, "must name every section: 0 1"),
        (offer(AUDIO, bundle="1"), 400, "must name every section: 0"),
        ((HEAD + AUDIO + ICE + DTLS + VIDEO + ICE + DTLS).encode(), 400, "must name every section: 0 1"),
        (offer(AUDIO, VIDEO.replace("mid:1", "mid:0"), bundle="0"), 400, "names of their own"),
        (b"v=0\r\nm=audio", 400, "cannot be read"),
        (offer(AUDIO, AUDIO), 400, "at most one audio section, this one has 2"),
        (offer(AUDIO, VIDEO, VIDEO, VIDEO), 400, "at most one video section, this one has 3"),
        ((HEAD + AUDIO + DTLS).encode(), 400, "the audio section has no ICE credentials"),
        ((HEAD + AUDIO + ICE).encode(), 400, "the audio section has no DTLS fingerprint"),
        (offer(AUDIO.replace("opus/48000/2", "PCMU/8000")), 406, "needs Opus; it offers pcmu"),
        (offer(VIDEO.replace("VP8", "AV1")), 406, "needs VP8 or H.264; it offers av1"),
        (offer(re.sub("a=rtpmap.*\r\n", "", AUDIO)), 406, "needs Opus; it offers none"),
        (offer(AUDIO) + b"a=x:" + b"y" * MAX_SDP_BYTES, 413, "at most 65536 bytes"),
    ],
)
def test_a_bad_offer_is_refused_with_its_fault(sdp: bytes, status: int, message: str) -> None:
    error = refused(sdp)
    assert error.status == status
    assert message in str(error)


def test_a_plain_offer_is_taken() -> None:
    assert read_offer(offer(AUDIO, VIDEO)).kinds == ("audio", "video")


LINES = st.sampled_from(["", *(HEAD + AUDIO + VIDEO + ICE + DTLS).split("\r\n")])
JUNK = st.text(max_size=20)


@settings(max_examples=300)
@given(st.lists(st.one_of(LINES, st.tuples(LINES, JUNK).map("".join), JUNK), max_size=25))
def test_garbage_is_an_offer_or_is_refused(lines: list[str]) -> None:
    text = "\r\n".join(lines).encode()
    for read in (read_offer, read_fragment):
        with suppress(ApiError):
            read(text)


# --- fragments ---


def test_a_fragment_of_candidates() -> None:
    fragment = read_fragment(
        f"{UFRAG}\r\n{PASSWORD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na={CANDIDATE}\r\n"
        "a=candidate:2 1 UDP 1 abc.local 9 typ srflx raddr 1.2.3.4 rport 5 generation 0\r\n"
        "a=end-of-candidates\r\n".encode()
    )
    assert (fragment.username, fragment.password) == ("abcd", "abcdefghijklmnopqrstuv")
    assert [(found.ip, found.port, found.type) for found in fragment.candidates] == [
        ("127.0.0.1", 40_000, "host"),
        ("abc.local", 9, "srflx"),
    ]
    assert fragment.complete


def test_an_empty_fragment_says_nothing() -> None:
    assert read_fragment(b"") == Fragment()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "decode"),
        (b"a=candidate:1 1 udp", "candidate:1 1 udp"),
        (b"a=candidate:1 one udp 1 127.0.0.1 9 typ host", "candidate:1 one"),
        (b"a=candidate:1 1 udp 1 127.0.0.1 port typ host", "candidate:1 1"),
        (UFRAG.encode(), "go together"),
        (PASSWORD.encode(), "go together"),
        (f"a=ice-ufrag:abc\n{PASSWORD}".encode(), "a=ice-ufrag: expected"),
        (f"{UFRAG}\na=ice-pwd:short".encode(), "a=ice-pwd: expected"),
        (f"a=ice-ufrag:a b;d\n{PASSWORD}".encode(), "a=ice-ufrag: expected"),
        (f"a={CANDIDATE}\n".encode() * (MAX_CANDIDATES + 1), "at most 64 candidates"),
    ],
)
def test_a_bad_fragment_is_refused_with_its_fault(text: bytes, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_fragment(text)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_sdp_fragment"
    assert message in str(caught.value)
