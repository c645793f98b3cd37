"""A page in a real browser: Debian's Chromium, headless, with a fake microphone and camera."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Error, Page, async_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@asynccontextmanager
async def chromium_page(
    url: str,
    microphone: Path | None = None,
    camera: Path | None = None,
    permissions: bool = True,
    tolerated: str | tuple[str, ...] = (),
    devices: bool = True,
    flags: Sequence[str] = (),
) -> AsyncIterator[Page]:
    """Open `url`. What goes wrong in the page, uncaught errors and console errors, fails the test at the end.

    `microphone` is a WAV file that is heard once and then silence, `camera` a Y4M or MJPEG file that is shown again and
    again; without them there is a beep and a test picture. Without `permissions` the user denies both.
    Without `devices` there is neither. Console errors with words that are `tolerated` are meant to be. `flags` are
    more of Chromium's.
    """
    if CHROMIUM is None and "MILLSTREAM_TESTS_NEED_BROWSER" in os.environ:
        pytest.fail("no browser, and this run may not go without")
    if CHROMIUM is None:
        pytest.skip("no browser: install Debian's chromium, or set CHROMIUM to the path of another")
    left_out = (() if permissions else ("fake-ui",)) + (() if devices else ("fake-device",))
    flags = [*(flag for flag in _FLAGS if not any(part in flag for part in left_out)), *flags]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    if camera is not None:
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    wrong: list[str] = []
    fine = (tolerated,) if isinstance(tolerated, str) else tolerated
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            page = await browser.new_page()
            page.on("pageerror", lambda error: wrong.append(_uncaught(error)))
            page.on("console", lambda message: wrong.extend(_complaint(message, fine)))
            await page.goto(url)
            yield page
        finally:
            await browser.close()
    assert wrong == [], wrong


def _uncaught(error: Error) -> str:
    return f"uncaught: {error.stack or error.message}"


def _complaint(message: ConsoleMessage, tolerated: tuple[str, ...]) -> list[str]:
    where = message.location["url"]
    fine = where.endswith("/favicon.ico") or any(words in message.text for words in tolerated)
    return [] if message.type != "error" or fine else [f"{message.text} ({where})"]
