"""Visiting the demo page: what it asks for, and what comes out of the loudspeaker."""

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.browser import chromium_page
from tests.packages import node_modules
from tests.server import Server

PATIENCE_MS = 100_000
RATE_HZ = 24_000
SAME_ORIGIN = ("data:", "blob:", "about:")
LOUD = 0.02
POLL_MS = 100
_METER = """
const meters = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...others) {
  if (target instanceof AudioDestinationNode) {
    const meter = new AnalyserNode(this.context, { fftSize: 4096 });
    meters.push(meter);
    connect.call(this, meter);
  }
  return connect.call(this, target, ...others);
};
window.loudness = () => {
  const samples = new Float32Array(4096);
  const peak = (meter) => {
    meter.getFloatTimeDomainData(samples);
    return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  };
  return Math.max(0, ...meters.filter((meter) => meter.context.state === "running").map(peak));
};
"""
"""Whatever is connected to a loudspeaker goes to a meter too."""


@asynccontextmanager
async def visit(server: Server, **chromium: Any) -> AsyncIterator[Page]:
    """The page of a server. Afterwards nothing must have been asked of anyone else, and nothing gone wrong."""
    asked: list[str] = []
    async with chromium_page("about:blank", **chromium) as page:
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: asked.append(request.url))
        await page.add_init_script(_METER)
        await page.goto(server.url)
        yield page
    assert [url for url in asked if not url.startswith((server.url, *SAME_ORIGIN))] == []


async def until(page: Page, expression: str) -> Any:
    """What an expression gives, once that is true. (The page's policy forbids Playwright's own way of waiting.)"""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not (value := await page.evaluate(expression)):
            await page.wait_for_timeout(POLL_MS)
    return value


async def becomes_loud(page: Page) -> None:
    """Wait until something is heard."""
    await until(page, f"loudness() > {LOUD}")


async def becomes_silent(page: Page) -> None:
    """Wait until nothing is heard."""
    await until(page, f"loudness() < {LOUD}")


async def says(page: Page, selector: str, words: str) -> None:
    """Wait until an element has some words."""
    await expect(page.locator(selector).last).to_contain_text(words, ignore_case=True, timeout=PATIENCE_MS)


def recording(path: Path, *clips: Path, lead_s: float = 1.0, tail_s: float = 60.0) -> Path:
    """Write a WAV file of clips between silences."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        out.writeframes(bytes(2 * int(lead_s * RATE_HZ)))
        for clip in clips:
            with wave.open(str(clip)) as spoken:
                out.writeframes(spoken.readframes(spoken.getnframes()))
        out.writeframes(bytes(2 * int(tail_s * RATE_HZ)))
    return path


async def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is now."""
    source = (node_modules() / "axe-core" / "axe.min.js").read_text()
    await page.evaluate(source + "; undefined")
    found = await page.evaluate("axe.run()")
    return [
        f"{rule['id']}: {node['html']} ({json.dumps(node['any'])[:200]})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
