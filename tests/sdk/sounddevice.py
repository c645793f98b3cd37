"""A stand-in for the sound card that test machines do not have: the part of `sounddevice` that the SDK uses. What is
played is what is heard.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

BLOCK_SAMPLES = 240
PortAudioError = type("PortAudioError", (Exception,), {})
played: "queue.Queue[bytes]" = queue.Queue()
"""What the loudspeaker has played."""


class _Stream:
    latency = 0.05

    def __init__(
        self, callback: Callable[..., None], blocksize: int = 0, device: object = None, **options: Any
    ) -> None:
        assert options == {"samplerate": 24_000, "dtype": "int16", "channels": 1}
        if device is not None:
            raise PortAudioError(f"no device {device}")
        self._callback = callback
        self._samples = blocksize or BLOCK_SAMPLES
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sound card")

    def start(self) -> None:
        self._thread.start()

    def close(self, ignore_errors: bool) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._samples / 24_000):
            self._step()

    def _step(self) -> None:
        raise NotImplementedError


class RawInputStream(_Stream):
    """Hears a constant."""

    def _step(self) -> None:
        self._callback(b"\1\0" * self._samples, self._samples, None, None)


class RawOutputStream(_Stream):
    """Plays."""

    def _step(self) -> None:
        output = bytearray(self._samples * 2)
        self._callback(memoryview(output), self._samples, None, None)
        played.put(bytes(output))
