import asyncio

import pytest

from tests.workers.harness import HUNG_S
from workers import lifetime
from workers.lifetime import run_together


class Part:
    """Heeds only the last of `cancellations` cancellations."""

    def __init__(self, cancellations: int = 1) -> None:
        self.left = cancellations

    async def run(self) -> None:
        while self.left > 0:
            try:
                await asyncio.sleep(HUNG_S)
            except asyncio.CancelledError:
                self.left -= 1
            else:
                return
        raise asyncio.CancelledError


async def end() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("the first to fail")


@pytest.fixture(autouse=True)
def quick_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "_CANCEL_INTERVAL_S", 0.01)


async def test_the_first_to_end_ends_all() -> None:
    part = Part()
    await asyncio.wait_for(run_together(part.run(), end()), HUNG_S)
    assert part.left == 0


async def test_the_first_error_is_raised_and_ends_all(caplog: pytest.LogCaptureFixture) -> None:
    """And is its catcher's alone to log."""
    part = Part()
    with pytest.raises(ValueError, match="the first to fail"):
        await asyncio.wait_for(run_together(part.run(), fail()), HUNG_S)
    assert part.left == 0
    assert not caplog.records


async def test_a_second_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.sleep(HUNG_S)
        finally:
            raise KeyError("the second")

    with pytest.raises(ValueError, match="the first to fail"):
        await run_together(fail_at_the_end(), fail())
    assert "the second" in caplog.text


async def test_cancelling_ends_all() -> None:
    parts = [Part(), Part()]
    together = asyncio.create_task(run_together(*(part.run() for part in parts)))
    await asyncio.sleep(0)
    together.cancel()
    with pytest.raises(asyncio.CancelledError):
        await together
    assert [part.left for part in parts] == [0, 0]


async def test_a_part_that_swallows_a_cancellation_is_cancelled_again() -> None:
    part = Part(cancellations=3)
    await asyncio.wait_for(run_together(part.run(), end()), HUNG_S)
    assert part.left == 0


async def test_a_part_that_heeds_no_cancellation_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    part = Part(cancellations=1000)
    await asyncio.wait_for(run_together(part.run(), end()), HUNG_S)
    left, part.left = part.left, 0
    assert left > 0
    assert "did not heed its cancellation" in caplog.text
