"""What calls carry: a conversation or transcription by the audio tracks and the data channel `oai-events`, live video
by the video tracks and the data channel `live`.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

from aiortc import RTCRtpSender, RTCRtpTransceiver

from app.live.runner import LiveRunner
from app.live.session import LiveSession
from app.realtime.session import Session
from app.rtc.audio import AudioIn, AudioOut, take_packets
from app.rtc.call import Call
from app.rtc.channel import ChannelConnection
from app.rtc.offer import Offer
from app.rtc.video import TracksConnection, VideoOut, bound_decoding

if TYPE_CHECKING:
    from app.gateway import Gateway

REALTIME_CHANNEL, LIVE_CHANNEL = "oai-events", "live"


def carry_session(call: Call, offer: Offer, session: Session, gateway: "Gateway") -> None:
    """Talk, or transcribe."""
    channel = ChannelConnection(call.hang_up, expected=offer.channels)
    call.expect(REALTIME_CHANNEL, channel)
    runner = gateway.runner(session, channel)
    transceiver = call.connection.addTransceiver(AudioOut(runner.play))
    only_opus(transceiver)
    heard = AudioIn(runner.hear)
    take_packets(transceiver.receiver, heard)
    call.carry(runner.run(), heard.watch())
    call.on_end(lambda: gateway.metrics.heard(**asdict(heard.counts)))


def carry_live(call: Call, offer: Offer, gateway: "Gateway") -> None:
    """Restyle."""
    session, out = LiveSession(), VideoOut()
    channel = TracksConnection(session, out.show, call.hang_up, expected=offer.channels)
    call.expect(LIVE_CHANNEL, channel)
    receiver = call.connection.addTransceiver(out).receiver
    bound_decoding(receiver)
    call.carry(LiveRunner(session, channel, gateway).run(), channel.watch(receiver))


def only_opus(transceiver: RTCRtpTransceiver) -> None:
    """Take no other codec."""
    opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.name == "opus"]
    transceiver.setCodecPreferences(opus)
