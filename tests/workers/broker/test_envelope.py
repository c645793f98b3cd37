from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.broker.envelope import VERSION, Envelope, EnvelopeError, decode, encode

numbers = st.integers(-(2**63), 2**63 - 1)
values = st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | st.text()
metas = st.dictionaries(st.text(), values | st.lists(values) | st.dictionaries(st.text(), values))
envelopes = st.lists(
    st.builds(
        Envelope,
        stream=st.text(),
        lease=numbers,
        turn=numbers,
        seq=numbers,
        kind=st.text(),
        pts=numbers,
        data=st.binary(),
        meta=metas,
        slack_ms=st.floats(allow_nan=False),
    )
)


@given(envelopes)
def test_what_is_encoded_is_decoded(batch: list[Envelope]) -> None:
    assert decode(encode(batch)) == batch


def test_a_frame_begins_with_its_version() -> None:
    assert encode([])[0] == VERSION


@pytest.mark.parametrize(
    ("frame", "found"), [(bytes([VERSION + 1]) + encode([])[1:], f"version {VERSION + 1}"), (b"", "version nothing")]
)
def test_refuses_another_version(frame: bytes, found: str) -> None:
    with pytest.raises(EnvelopeError, match=found):
        decode(frame)


@given(st.binary(max_size=64))
def test_garbage_is_refused_or_is_envelopes(garbage: bytes) -> None:
    with suppress(EnvelopeError):
        assert all(isinstance(envelope, Envelope) for envelope in decode(bytes([VERSION]) + garbage))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        encode([Envelope("s", 1, 0, 0, "text")])[1:-1],
        encode([Envelope("s", 1, 0, 0, "text")])[1:] + b"\x00",
        msgspec.msgpack.encode([["s", 1, 0]]),
        msgspec.msgpack.encode([["s", "one", 0, 0, "text"]]),
    ],
    ids=["empty", "invalid", "cut short", "too long", "too few fields", "wrong type"],
)
def test_refuses_a_malformed_frame(body: bytes) -> None:
    with pytest.raises(EnvelopeError, match="malformed"):
        decode(bytes([VERSION]) + body)
