"""Text to speech, as it comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from millstream.connection import DEFAULT_URL
from millstream.errors import Dropped, ServerError
from millstream.http_exchange import Exchange
from millstream.protocol.speech import NOTHING_TO_SPEAK, PATH, Script
from millstream.reconnection import RECONNECT, Reconnect

T = TypeVar("T")
MAX_WAITING_CHARS = 100_000
"""With more text than this waiting to be said, sending waits."""


class Speech:
    """A text that is spoken: send it, in pieces as they come, and iterate over its audio: 24 kHz mono little-endian
    int16, faster than it plays. Both may happen at once, in different tasks.

    Nothing is asked of the server before the audio is: what goes wrong is raised where it is iterated over.
    """

    def __init__(self, exchange: Exchange, options: dict[str, Any], reconnect: Reconnect | None) -> None:
        self._exchange = exchange
        self._options = options
        self._reconnect = reconnect
        self._script = Script()
        self._changed = asyncio.Condition()
        self._thread = ThreadPoolExecutor(1, "millstream speech")
        self._fetching: asyncio.Task[bytes] | None = None
        self._speaking = self._spoken = self._cancelled = False
        """Whether a part of the text is being said, whether any was, whether no more is wanted."""
        self._silence: ServerError | None = None
        """Why a part could not be said."""
        self._rest = b""
        """Half a sample."""

    async def send(self, text: str) -> None:
        """Go on with the text. Waits while too much of it is waiting to be said."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._script.waiting < MAX_WAITING_CHARS or self._cancelled)
            self._script.add(text)
            self._changed.notify_all()

    async def finish(self) -> None:
        """Say that no more text comes; iteration ends when all is spoken."""
        async with self._changed:
            self._script.finished = True
            self._changed.notify_all()

    async def cancel(self) -> None:
        """Stop: the server makes no more of it, and iteration ends."""
        self._cancelled = True
        self._exchange.close()
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """Stop, and have the thread end."""
        await self.cancel()
        self._thread.shutdown(wait=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next audio. Raises OSError if the server cannot be reached, ServerError if it refuses or breaks off."""
        if self._cancelled:
            raise StopAsyncIteration
        self._fetching = self._fetching or asyncio.create_task(self._fetch())
        fetching = self._fetching
        await asyncio.wait({fetching})
        self._fetching = None
        if self._cancelled or not (pcm := fetching.result()):
            raise StopAsyncIteration
        return pcm

    async def _fetch(self) -> bytes:
        """The next audio, nothing at the end."""
        while True:
            if not self._speaking:
                part = await self._part()
                if part is None:
                    return self._end()
                self._speaking = await self._ask(part)
                continue
            got = await self._on_thread(self._exchange.read)
            self._speaking = got != b""
            pcm = self._rest + got
            whole = len(pcm) // 2 * 2
            self._rest = pcm[whole:]
            if whole:
                self._spoken = True
                return pcm[:whole]

    def _end(self) -> bytes:
        if self._silence is not None and not self._spoken:
            raise self._silence
        return b""

    async def _part(self) -> str | None:
        """What is to be said next; None at the end."""
        async with self._changed:
            while self._script.waiting or not self._script.finished:
                part = self._script.part()
                self._changed.notify_all()
                if part is not None:
                    return part
                if not self._script.finished:
                    await self._changed.wait()
        return None

    async def _ask(self, part: str) -> bool:
        """Have a part of the text said. Returns whether there is something to be said in it."""
        try:
            await self._persistently(lambda: self._exchange.ask({**self._options, "input": part}))
        except ServerError as error:
            if error.code != NOTHING_TO_SPEAK:
                raise
            self._silence = error
            return False
        return True

    async def _persistently(self, ask: Callable[[], None]) -> None:
        """Ask, and ask again as `reconnect` says, unless the server has not said anything yet."""
        pauses = self._reconnect.pauses() if self._reconnect and self._spoken else iter(())
        while True:
            try:
                return await self._on_thread(ask)
            except (Dropped, OSError):
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@asynccontextmanager
async def speak(
    text: str | None = None,
    url: str = DEFAULT_URL,
    *,
    api_key: str | None = None,
    voice: str | None = None,
    speed: float | None = None,
    reconnect: Reconnect | None = RECONNECT,
) -> AsyncIterator[Speech]:
    """Speak a text on the server at `url`, or what is sent to `Speech` if none is given.

    A text that comes in pieces is spoken sentence by sentence. `speed` is 0.25 to 4. If the connection fails between
    two sentences the next is asked for again as `reconnect` says; one that is cut short raises ServerError, since
    another attempt would not sound the same. Raises ValueError if the URL is none.
    """
    given = {"voice": voice, "speed": speed}
    options = {"model": "tts-1", "response_format": "pcm"} | {name: it for name, it in given.items() if it is not None}
    speech = Speech(Exchange(url, PATH, api_key), options, reconnect)
    try:
        if text is not None:
            await speech.send(text)
            await speech.finish()
        yield speech
    finally:
        await speech.close()
