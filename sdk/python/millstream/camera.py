"""Pictures of a camera or a film: `pip install 'millstream[camera]'`.

with Camera() as camera:
    async for event in restyling.watch(camera):
        ...
"""

import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from millstream.captured import Captured
from millstream.extras import DeviceError, required
from millstream.restyling import TICKS_PER_S

__all__ = ["Camera", "DeviceError", "Frame", "pictures"]

DEFAULT_CAMERAS = {"linux": ("v4l2", "/dev/video0"), "darwin": ("avfoundation", "0")}
"""FFmpeg's names of a system's camera devices, and of the first of them."""
DEFAULT_FPS = 25
QUALITY = 85


class Frame(NamedTuple):
    """A JPEG, and its time in ticks of 90 kHz from the first."""

    pts: int
    picture: bytes


class Camera(Captured[Frame]):
    """The pictures of a camera, by `async for` or `for`: always the latest, those before it are `dropped`.

    `source` is a film, which is shown at its own pace, or unless `paced` picture by picture, as they are taken. With
    `format`, one of FFmpeg's input devices, it is a device; the first camera if neither is given. At most `fps`
    pictures a second are taken, and made no larger than `max_side`. Raises ImportError without the extra, DeviceError
    if the source cannot be opened.
    """

    def __init__(
        self,
        source: str | Path | None = None,
        *,
        format: str | None = None,  # noqa: A002 - FFmpeg's word
        paced: bool = True,
        fps: float | None = None,
        max_side: int = 512,
    ) -> None:
        super().__init__(1, dropping=paced)
        self._container = _opened(source, format)
        self._pause_ticks = round(TICKS_PER_S / fps) if fps else 0
        self._paced = paced and format is None and source is not None
        self._max_side = max_side
        self._thread = threading.Thread(target=self._capture, name="millstream camera", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.join()

    def _capture(self) -> None:
        """Runs on a thread of its own."""
        error: Exception | None = None
        try:
            with self._container:
                self._put_all()
        except Exception as problem:
            error = DeviceError(f"the camera broke off: {problem}")
        self.close(error)

    def _put_all(self) -> None:
        started, first, due = time.monotonic(), None, 0
        for ticks, image in pictures(self._container):
            first = ticks if first is None else first
            pts = ticks - first
            if self._paced:
                time.sleep(max(0.0, started + pts / TICKS_PER_S - time.monotonic()))
            if pts >= due:
                due = pts + self._pause_ticks
                if not self.put(Frame(pts, _jpeg(image, self._max_side))):
                    return


def pictures(container: Any) -> Iterator[tuple[int, Any]]:
    """The pictures of an open video as PIL images, each behind its time, in rising ticks of 90 kHz."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    fps = stream.average_rate or DEFAULT_FPS
    last = -1
    for number, frame in enumerate(container.decode(stream)):
        time_s = frame.time if frame.time is not None else float(number / fps)
        last = max(last + 1, round(time_s * TICKS_PER_S))
        yield last, frame.to_image()


def _jpeg(image: Any, max_side: int) -> bytes:
    image.thumbnail((max_side, max_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _opened(source: str | Path | None, kind: str | None) -> Any:
    av, _ = required("av", "camera"), required("PIL", "camera")
    if source is None:
        if sys.platform not in DEFAULT_CAMERAS:
            raise DeviceError(f"name the camera: on {sys.platform} there is no first one")
        kind, source = DEFAULT_CAMERAS[sys.platform]
    try:
        container = av.open(str(source), format=kind)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{source} cannot be opened: {error}") from error
    if not container.streams.video:
        container.close()
        raise DeviceError(f"{source} has no pictures")
    return container
