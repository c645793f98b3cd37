"""What goes to a server's ear and what it heard, the same in transcriptions and conversations."""

import base64
from collections.abc import Iterator
from typing import Any

from millstream.events import Final, Heard, Partial, SpeechStarted, SpeechStopped, TranscriptFailed

MAX_APPEND_BYTES = 8 * 2**20
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


def appends(pcm: bytes) -> Iterator[dict[str, Any]]:
    """The events that carry 24 kHz mono little-endian int16 audio."""
    for start in range(0, len(pcm), MAX_APPEND_BYTES):
        audio = base64.b64encode(pcm[start : start + MAX_APPEND_BYTES]).decode()
        yield {"type": "input_audio_buffer.append", "audio": audio}


def heard(message: dict[str, Any]) -> Heard | None:
    """What an event of the protocol says of the input audio; None if it says nothing."""
    match message["type"].removeprefix(_TRANSCRIPTION):
        case "input_audio_buffer.speech_started":
            return SpeechStarted(message["item_id"], message["audio_start_ms"] / 1_000)
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped(message["item_id"], message["audio_end_ms"] / 1_000)
        case "delta":
            return Partial(message["item_id"], message["delta"])
        case "completed":
            return Final(message["item_id"], message["transcript"], message["usage"]["seconds"])
        case "failed":
            error = message["error"]
            return TranscriptFailed(message["item_id"], error["code"], error["message"])
    return None
