"""The same without `async`: sessions as plain context managers and iterators.

with millstream.sync.transcribe("http://127.0.0.1:8000") as transcription:
    for event in transcription.hear(audio):
        print(event)

Each session runs on an event loop on a thread of its own, which ends with it. Its methods may be called from any
thread, and may be interrupted by Ctrl-C.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

import millstream
from millstream.events import ConversationEvent, Event, RestylingEvent

P = ParamSpec("P")
T = TypeVar("T")
AsyncT = TypeVar("AsyncT")
SessionT = TypeVar("SessionT")


class _Loop:
    """An event loop on a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="millstream", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns or raises."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, events: AsyncIterator[T]) -> Iterator[T]:
        """What is iterated over."""
        while (event := self.run(_next(events))) is not None:
            yield event[0]

    def close(self) -> None:
        """Have the thread end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


async def _next(events: AsyncIterator[T]) -> tuple[T] | None:
    """The next one, None at the end."""
    try:
        return (await anext(events),)
    except StopAsyncIteration:
        return None


class _Session(Generic[AsyncT]):
    def __init__(self, loop: _Loop, session: AsyncT) -> None:
        self._loop = loop
        self._session = session


class Transcription(_Session["millstream.Transcription"]):
    """A live transcription; see `millstream.Transcription`."""

    def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        self._loop.run(self._session.send(pcm))

    def finish(self) -> None:
        """Say that no more audio comes; iteration ends when every transcript has arrived."""
        self._loop.run(self._session.finish())

    def update(self, audio_input: dict[str, Any]) -> None:
        """Change `session.audio.input` of the Realtime protocol."""
        self._loop.run(self._session.update(audio_input))

    def hear(self, audio: Iterable[bytes]) -> Iterator[Event]:
        """Send all of the audio, which is iterated over on a thread, and finish, while iterating over the events."""
        return self._loop.each(self._session.hear(audio))

    def __iter__(self) -> Iterator[Event]:
        return self._loop.each(self._session)


class Conversation(_Session["millstream.Conversation"]):
    """A live conversation; see `millstream.Conversation`."""

    def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        self._loop.run(self._session.send(pcm))

    def hear(self, audio: Iterable[bytes]) -> Iterator[ConversationEvent]:
        """Send all of the audio, which is iterated over on a thread, while iterating over the events."""
        return self._loop.each(self._session.hear(audio))

    def send_text(self, text: str, **fields: Any) -> None:
        """Say something in writing, and ask for a reply; `fields` as for `respond`."""
        self._loop.run(self._session.send_text(text, **fields))

    def respond(self, instructions: str | None = None, **fields: Any) -> None:
        """Ask for a reply now; `fields` are others of the protocol's `response` object."""
        self._loop.run(self._session.respond(instructions, **fields))

    def commit(self) -> None:
        """End the user's turn and ask for a reply; needed only with `turn_detection=None`."""
        self._loop.run(self._session.commit())

    def tool_result(self, call: str, output: str) -> None:
        """Answer a `ToolCall`. When all calls of a reply are answered, another is asked for."""
        self._loop.run(self._session.tool_result(call, output))

    def truncate(self, item: str, played_s: float) -> None:
        """Say that only the first `played_s` seconds of a reply's audio were played."""
        self._loop.run(self._session.truncate(item, played_s))

    def cancel(self) -> None:
        """Stop the reply that is being made."""
        self._loop.run(self._session.cancel())

    def update(self, session: dict[str, Any]) -> None:
        """Change `session` of the Realtime protocol."""
        self._loop.run(self._session.update(session))

    def __iter__(self) -> Iterator[ConversationEvent]:
        return self._loop.each(self._session)


class Restyling(_Session["millstream.Restyling"]):
    """Live video, restyled; see `millstream.Restyling`."""

    @property
    def dropped(self) -> int:
        """Pictures that did not come, since later ones replaced them or the connection was lost."""
        return self._session.dropped

    def send(self, picture: bytes, pts: int) -> None:
        """Send a JPEG, WebP or PNG; `pts`, in ticks of 90 kHz, must rise."""
        self._loop.run(self._session.send(picture, pts))

    def change(self, **options: Any) -> None:
        """Restyle differently from the next picture on."""
        self._loop.run(self._session.change(**options))

    def finish(self) -> None:
        """Say that no more pictures come; iteration ends when all have been answered for."""
        self._loop.run(self._session.finish())

    def watch(self, pictures: Iterable[tuple[int, bytes]]) -> Iterator[RestylingEvent]:
        """Send all pictures, which are iterated over on a thread, and finish, while iterating over the events."""
        return self._loop.each(self._session.watch(pictures))

    def __iter__(self) -> Iterator[RestylingEvent]:
        return self._loop.each(self._session)


class Speech(_Session["millstream.Speech"]):
    """A text that is spoken; see `millstream.Speech`."""

    def send(self, text: str) -> None:
        """Go on with the text. Waits while too much of it is waiting to be said."""
        self._loop.run(self._session.send(text))

    def finish(self) -> None:
        """Say that no more text comes; iteration ends when all is spoken."""
        self._loop.run(self._session.finish())

    def cancel(self) -> None:
        """Stop: the server makes no more of it, and iteration ends."""
        self._loop.run(self._session.cancel())

    def __iter__(self) -> Iterator[bytes]:
        return self._loop.each(self._session)


def _plain(
    opened: Callable[P, AbstractAsyncContextManager[AsyncT]], kind: Callable[[_Loop, AsyncT], SessionT]
) -> Callable[P, AbstractContextManager[SessionT]]:
    """A function that opens a session, without `async`."""

    @wraps(opened)
    @contextmanager
    def plain(*arguments: P.args, **options: P.kwargs) -> Iterator[SessionT]:
        loop = _Loop()
        try:
            manager = opened(*arguments, **options)
            session = loop.run(manager.__aenter__())
            try:
                yield kind(loop, session)
            finally:
                loop.run(manager.__aexit__(None, None, None))
        finally:
            loop.close()

    return plain


transcribe = _plain(millstream.transcribe, Transcription)
speak = _plain(millstream.speak, Speech)
converse = _plain(millstream.converse, Conversation)
restyle = _plain(millstream.restyle, Restyling)
