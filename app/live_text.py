"""Text that forms while it is spoken: in place on a terminal, else a line for every change."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text


class LiveText:
    """Prints lines with the time since the start. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._started = time.monotonic()
        self._forming = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def form(self, key: str, text: str) -> None:
        """The text of `key` so far."""
        self._forming = key
        if self._console.is_terminal:
            self._live.update(Text(f"{self._clock()}{text} …", style="dim"), refresh=True)
        else:
            self._console.print(f"{self._clock()}{text} …", markup=False)

    def settle(self, key: str, text: str) -> None:
        """The text of `key` as it stays; nothing if it is empty."""
        if self._forming == key:
            self._live.update(Text(""))
        if text:
            self._console.print(f"{self._clock()}{text}", markup=False)

    def _clock(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s  "
