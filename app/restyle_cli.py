"""`millstream restyle`: an SDK client that restyles a video file, picture by picture, and keeps its sound."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.error import FFmpegError
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

import millstream
from millstream.camera import DEFAULT_FPS, pictures
from millstream.restyling import TICKS_PER_S

_TIME_BASE = Fraction(1, TICKS_PER_S)
_MAX_SIDE = 1_024
_QUALITY = 92


class NotVideo(Exception):
    """The file has no pictures that can be read."""


class Job(NamedTuple):
    """What is to be done; `options` as `millstream.restyle` takes them."""

    source: Path
    target: Path
    prompt: str
    options: dict[str, Any]


async def run(job: Job, url: str, api_key: str | None) -> int:
    """Restyle a file. Returns the exit code."""
    exit_code = 0
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        async with millstream.restyle(job.prompt, url, api_key=api_key, **job.options) as restyling:
            await _restyle(job, restyling)
    except* (OSError, FFmpegError, millstream.ServerError, NotVideo) as group:
        errors.print(Text(str(_first(group)), "red"))
        exit_code = 1
    return exit_code


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _restyle(job: Job, restyling: millstream.Restyling) -> None:
    """A picture is sent when the one before it is in work, so that none is dropped."""
    room = asyncio.Semaphore(1)
    with Progress(console=Console(stderr=True)) as progress, ExitStack() as files:
        video = files.enter_context(_Source(job.source))
        target = files.enter_context(_Target(job.target, video))
        task = progress.add_task(job.target.name, total=video.frames)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(video, restyling, room))
            tasks.create_task(_receive(target, restyling, room, progress, task))
        await asyncio.to_thread(target.finish)


async def _send(video: "_Source", restyling: millstream.Restyling, room: asyncio.Semaphore) -> None:
    pictures = video.pictures()
    while (picture := await asyncio.to_thread(next, pictures, None)) is not None:
        await room.acquire()
        await restyling.send(picture[1], picture[0])
    await restyling.finish()


async def _receive(
    target: "_Target", restyling: millstream.Restyling, room: asyncio.Semaphore, progress: Progress, task: TaskID
) -> None:
    async for answer in restyling:
        room.release()
        match answer:
            case millstream.Restyled(pts, picture, _):
                await asyncio.to_thread(target.write, pts, picture)
            case millstream.Unchanged(pts):
                await asyncio.to_thread(target.write, pts, None)
        if not isinstance(answer, millstream.Held):
            progress.advance(task)


class _Source:
    """A video file that is read."""

    def __init__(self, file: Path) -> None:
        try:
            self.container = av.open(str(file))
        except FFmpegError as error:
            raise NotVideo(f"{file.name} is no video that can be read: {error.strerror}") from error
        if not self.container.streams.video:
            raise NotVideo(f"{file.name} has no pictures")
        self.stream = self.container.streams.video[0]

    def __enter__(self) -> "_Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def fps(self) -> Fraction:
        """Pictures a second."""
        return self.stream.average_rate or Fraction(DEFAULT_FPS)

    @property
    def frames(self) -> int | None:
        """How many pictures, if the file says."""
        return self.stream.frames or None

    def pictures(self) -> Iterator[tuple[int, bytes]]:
        """Each picture's time in ticks, and the picture as JPEG."""
        for pts, image in pictures(self.container):
            image.thumbnail((_MAX_SIDE, _MAX_SIDE))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=_QUALITY)
            yield pts, file.getvalue()


class _Target:
    """The video file that is written: H.264, and the source's sound as it is."""

    def __init__(self, file: Path, source: _Source) -> None:
        self._source = source
        self._container = av.open(str(file), "w")
        self._stream = self._container.add_stream("libx264", source.fps, {"crf": "18", "preset": "veryfast"})
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        sounds = source.container.streams.audio
        self._sound = self._container.add_stream_from_template(sounds[0]) if sounds else None
        self._last: Image.Image | None = None

    def __enter__(self) -> "_Target":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def write(self, pts: int, picture: bytes | None) -> None:
        """Add a picture, or the one before once more."""
        if picture is not None:
            self._last = Image.open(io.BytesIO(picture)).convert("RGB")
        assert self._last is not None
        if pts == 0 or not self._stream.width:
            self._stream.width, self._stream.height = self._last.size
        frame = av.VideoFrame.from_image(self._last)  # type: ignore[no-untyped-call]
        frame.pts, frame.time_base = pts, _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what is left, and the sound."""
        self._container.mux(self._stream.encode(None))
        if self._sound is None:
            return
        sound = self._source.container.streams.audio[0]
        self._source.container.seek(0)
        for packet in self._source.container.demux(sound):
            if packet.dts is not None:
                packet.stream = self._sound
                self._container.mux(packet)
