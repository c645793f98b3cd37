"""The demo page in a real browser, on a real server."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from models.tts.voices import voices
from tests.conftest import DATA
from tests.server import Server, running_server
from tests.web.visit import (
    PATIENCE_MS,
    becomes_loud,
    becomes_silent,
    recording,
    says,
    until,
    violations,
    visit,
)

STYLES = Path(__file__).parents[2] / "training" / "diffusion" / "styles.toml"
MEAN_COLOUR = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const sums = [0, 0, 0];
  data.forEach((value, index) => { if (index % 4 < 3) sums[index % 4] += value; });
  return sums.map((sum) => (4 * sum) / data.length);
}"""
PROMETHEUS = r"""
# HELP steps Steps.
steps_count{model="a \"b\"",le="+Inf"} 4.0
steps_sum{model="a \"b\"",le="+Inf"} 2e-1
steps_count{model="c"} 1.0
limit +Inf
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with every service."""
    workers = '{"listen": 1, "think": 1, "speak": 1, "restyle": 1}'
    with running_server(tmp_path_factory.mktemp("studio"), MILLSTREAM_WORKERS=workers) as started:
        yield started


async def test_a_question_is_written_answered_and_heard(studio: Server, tmp_path: Path) -> None:
    microphone = recording(tmp_path / "question.wav", DATA / "question.wav")
    async with visit(studio, microphone=microphone) as page:
        await page.get_by_role("button", name="Start talking").click()
        await says(page, ".turn.you p", "largest ocean")
        await becomes_loud(page)
        await says(page, ".turn.reply p", "ocean")
        await says(page, ".turn.reply header", "after")
        await expect(page.locator("#turn-latency")).not_to_have_text("–")
        await says(page, "#announcement", "ocean")
        await expect(page.locator(".turn .open")).to_have_count(0, timeout=PATIENCE_MS)
        assert await violations(page) == []


async def test_speaking_interrupts_the_reply(studio: Server, tmp_path: Path) -> None:
    silence = recording(tmp_path / "silence.wav")
    async with visit(studio, microphone=silence) as page:
        await page.get_by_role("button", name="Start talking").click()
        await page.get_by_role("button", name="How do plants make food?").click()
        await becomes_loud(page)
        await page.get_by_role("button", name="Wait, what is the capital of Italy?").click()
        await says(page, ".turn.reply header", "interrupted")
        await becomes_silent(page)
        await says(page, ".turn.you p", "Italy")
        await becomes_loud(page)
        assert await page.locator(".turn.reply").count() == 2


async def test_samples_and_typing_need_no_microphone(studio: Server) -> None:
    async with visit(studio, permissions=False) as page:
        await page.get_by_role("button", name="Start talking").click()
        await says(page, "#talk-notice", "may not use the microphone")
        await page.get_by_role("button", name="What is the tallest mountain on earth?").click()
        await says(page, ".turn.you p", "mountain")
        await expect(page.locator("#talk-notice")).to_be_hidden()
        await page.get_by_label("Type instead of speaking").fill("What is the capital of France?")
        await page.keyboard.press("Enter")
        await says(page, ".turn.you p", "France")
        await expect(page.locator(".turn.reply").last).to_be_visible(timeout=PATIENCE_MS)


async def test_pictures_differ_by_prompt_and_outlive_a_worker(studio: Server) -> None:
    async with visit(studio) as page:
        await page.get_by_role("button", name="Start", exact=True).click()
        await expect(page.locator("#fps")).not_to_have_text("–", timeout=PATIENCE_MS)
        await painted(page, "colour[2] > colour[0]")
        await page.get_by_label("Prompt").fill("everything burns in hell")
        await painted(page, "colour[0] > 2 * colour[2]")
        await page.get_by_label("2", exact=True).check(force=True)
        await page.get_by_role("button", name="Also starry").click()
        await painted(page, "colour[2] > colour[0]")
        studio.part("restyle").kill()
        await says(page, "#restyle-notice", "The restyle worker is gone.")
        await expect(page.locator("#restyle-notice")).to_be_hidden(timeout=PATIENCE_MS)
        await page.get_by_label("Prompt").fill("everything burns in hell")
        await painted(page, "colour[0] > 2 * colour[2]")


async def painted(page: Page, condition: str) -> None:
    """Wait until the mean colour of what is restyled fulfils a condition."""
    await until(page, f"{{ const colour = ({MEAN_COLOUR})(document.getElementById('after')); {condition} }}")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
async def test_everyone_can_use_it(studio: Server, scheme: Any, width: int) -> None:
    async with visit(studio) as page:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        await expect(page.locator("#machine .model").first).to_be_visible(timeout=PATIENCE_MS)
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.get_by_role("slider", name="Share of the input").press("End")
        await expect(page.locator("#divider")).to_have_attribute("aria-valuenow", "100")
        await page.get_by_role("button", name="Switch to the").click()
        other = {"light": "dark", "dark": "light"}[scheme]
        await page.reload()
        assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == other


async def test_it_asks_for_a_key(guarded_server: Server) -> None:
    async with visit(guarded_server, tolerated="401 (Unauthorized)") as page:
        await page.get_by_label("API key").fill("wrong-key")
        await page.keyboard.press("Enter")
        await says(page, "#key-problem", "not valid")
        await page.get_by_label("API key").fill("right-key")
        await page.keyboard.press("Enter")
        await expect(page.locator("#talk")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.locator("#restyle")).to_be_hidden()
        await page.reload()
        await expect(page.locator("#talk")).to_be_visible(timeout=PATIENCE_MS)
        await page.get_by_label("Type instead of speaking").fill("What is the capital of France?")
        await page.keyboard.press("Enter")
        await says(page, ".turn.reply p", "Paris")


async def test_its_modules_know_the_server(studio: Server) -> None:
    async with visit(studio) as page:
        choices = await page.evaluate("import('/choices.js').then(({ VOICES, LOOKS }) => ({ VOICES, LOOKS }))")
        assert {name for group in choices["VOICES"].values() for name, _ in group} == set(voices())
        assert {look for look, _ in choices["LOOKS"]} == {
            style["name"] for style in tomllib.loads(STYLES.read_text())["styles"]
        }
        figures = await page.evaluate(
            """async (text) => {
              const { parse, total, meanBetween, rise } = await import("/prometheus.js");
              const [none, some] = [parse(""), parse(text)];
              return [
                total(some, "steps_count"), total(some, "limit") === Infinity,
                meanBetween(none, some, "steps", { model: 'a "b"' }), rise(parse("n 7"), parse("n 2"), "n"),
                meanBetween(some, some, "steps"),
              ];
            }""",
            PROMETHEUS,
        )
        assert figures == [5, True, 0.05, 2, None]
