"""Microphone and loudspeaker: `pip install 'millstream[audio]'`. On Linux PortAudio comes with the distribution, as
`libportaudio2` or `portaudio`.

with Microphone() as microphone, Speaker() as speaker:
    async for event in conversation.hear(microphone):
        match event:
            case ReplyAudio(item, pcm):
                speaker.play(pcm, item)
            case SpeechStarted():
                for item, played_s in speaker.stop():
                    await conversation.truncate(item, played_s)
"""

import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from millstream.captured import Captured
from millstream.extras import DeviceError, required
from millstream.playback import RATE_HZ, Cut, Playback

__all__ = ["Cut", "DeviceError", "Microphone", "Speaker", "wav_pieces"]

PIECE_S = 0.1
PIECE_SAMPLES = 2_400
KEPT_PIECES = 300
"""Half a minute: so long may a connection be away without loss."""
_FORMAT: dict[str, Any] = {"samplerate": RATE_HZ, "dtype": "int16", "channels": 1}


class Microphone(Captured[bytes]):
    """What an input device hears, in pieces of 100 ms of 24 kHz mono int16, by `async for` or `for`. If they are not
    taken for half a minute, the oldest are `dropped`.

    `device` is a number or part of a name, as sounddevice knows it; the default one if not given. Raises ImportError
    without the extra, DeviceError if there is no such device or it cannot be opened.
    """

    def __init__(self, device: int | str | None = None) -> None:
        super().__init__(KEPT_PIECES)
        sounddevice = required("sounddevice", "audio")
        try:
            self._stream = sounddevice.RawInputStream(
                **_FORMAT, blocksize=PIECE_SAMPLES, device=device, callback=self._captured
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(f"cannot open the microphone: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close(ignore_errors=True)
        self.close()

    def _captured(self, data: Any, frames: int, when: object, status: object) -> None:
        """Called on a thread of the device."""
        self.put(bytes(data))


class Speaker(Playback):
    """An output device that plays without gaps. When the user begins to speak, `stop` tells what was heard.

    `device` as for `Microphone`. Raises ImportError without the extra, DeviceError if there is no such device or it
    cannot be opened.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._waiting = bytearray()
        self._lock = threading.Lock()
        sounddevice = required("sounddevice", "audio")
        try:
            self._stream = sounddevice.RawOutputStream(**_FORMAT, device=device, callback=self._fill)
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(f"cannot open the loudspeaker: {error}") from error
        super().__init__(latency_s=self._stream.latency)

    def close(self) -> None:
        """Stop at once, and give the device back."""
        self._stream.close(ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, pcm: bytes) -> None:
        with self._lock:
            self._waiting += pcm

    def _take_back(self, size: int) -> None:
        with self._lock:
            del self._waiting[max(0, len(self._waiting) - size) :]

    def _fill(self, output: Any, frames: int, when: object, status: object) -> None:
        """Called on a thread of the device for its next samples."""
        with self._lock:
            size = min(len(output), len(self._waiting) // 2 * 2)
            pcm = bytes(self._waiting[:size])
            del self._waiting[:size]
        output[:] = pcm.ljust(len(output), b"\0")


def wav_pieces(path: str | Path, *, paced: bool = True) -> Iterator[bytes]:
    """A WAV file in the place of a microphone, at the pace of speech unless not `paced`. Needs no extra. Raises
    OSError, and DeviceError if it is not 24 kHz mono int16.
    """
    try:
        with wave.open(str(path)) as wav:
            if (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) != (RATE_HZ, 1, 2):
                raise DeviceError(
                    f"{path} is not 24 kHz mono int16; try ffmpeg -i FILE -ar 24000 -ac 1 -sample_fmt s16"
                )
            due = time.monotonic()
            while piece := wav.readframes(PIECE_SAMPLES):
                due += PIECE_S
                if paced:
                    time.sleep(max(0.0, due - time.monotonic()))
                yield piece
    except (wave.Error, EOFError) as error:
        raise DeviceError(f"{path} is no WAV file: {error}") from error
