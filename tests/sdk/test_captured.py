"""What devices capture, without devices."""

import asyncio
import threading

import pytest

from millstream.captured import Captured


def test_the_oldest_are_dropped() -> None:
    captured: Captured[int] = Captured(2)
    assert all(captured.put(number) for number in range(5))
    captured.close()
    assert not captured.put(5)
    assert (list(captured), captured.dropped) == ([4, 5], 4)


async def test_others_wait_until_they_are_taken() -> None:
    captured: Captured[int] = Captured(2, dropping=False)

    def capture() -> None:
        for number in range(50):
            captured.put(number)
        captured.close()

    thread = threading.Thread(target=capture)
    thread.start()
    assert [number async for number in captured] == list(range(50))
    thread.join()
    assert captured.dropped == 0


async def test_waiting_task_is_woken() -> None:
    captured: Captured[int] = Captured(1)
    waiting = asyncio.create_task(anext(captured))
    await asyncio.sleep(0)
    threading.Thread(target=captured.put, args=[1]).start()
    assert await waiting == 1
    waiting = asyncio.create_task(anext(captured))
    await asyncio.sleep(0)
    captured.close(LookupError("the device is gone"))
    with pytest.raises(LookupError, match="gone"):
        await waiting
