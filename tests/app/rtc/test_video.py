from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from app.rtc.audio import BUFFER
from app.rtc.video import MAX_UNDECODED, bound_decoding


async def test_a_decoder_that_does_not_keep_up_is_given_no_more() -> None:
    """It decodes nothing at all here; each frame is one packet, known to be complete when the next one is there."""
    receiver = RTCPeerConnection().addTransceiver("video").receiver
    bound_decoding(receiver)
    buffer, waiting = getattr(receiver, BUFFER), vars(receiver)["_RTCRtpReceiver__decoder_queue"]
    answers = []
    for number in range(3 * MAX_UNDECODED):
        packet = RtpPacket(sequence_number=number, timestamp=3_000 * number)
        packet._data = b"x"  # type: ignore[attr-defined]
        key_frame_needed, frame = buffer.add(packet)
        answers.append(key_frame_needed)
        if frame is not None:
            waiting.put(frame)
    assert waiting.qsize() == MAX_UNDECODED
    assert answers == [False] * (MAX_UNDECODED + 1) + [True] * (2 * MAX_UNDECODED - 1)
