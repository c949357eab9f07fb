"""Who comes through, who waits, and who is refused, by a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from lookalike_service.errors import Overloaded
from lookalike_service.throttle import Throttle
from support_clock import jump


def test_those_too_many_wait_for_their_turn() -> None:
    async def work() -> list[float]:
        loop = asyncio.get_running_loop()
        throttle, times = Throttle(100, seconds=10, what="views", clock=loop.time), []
        for _ in range(4):
            await throttle.through(50, timeout=30)
            times.append(loop.time())
        await asyncio.sleep(60)
        await throttle.through(1000, timeout=30)
        return [*times, loop.time()]

    assert jump(work()) == pytest.approx([0.0, 0.5, 1.0, 1.5, 61.5])


def test_a_flood_is_refused_with_the_time_after_which_there_is_room() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        throttle = Throttle(100, seconds=2, what="views of products", clock=loop.time)
        await throttle.through(500, timeout=30)
        with pytest.raises(Overloaded, match="more than 100 views of products a second") as refused:
            await throttle.through(1, timeout=30)
        assert refused.value.retry_after == pytest.approx(3.0)
        await asyncio.sleep(3.0)
        await throttle.through(1, timeout=30)
        assert loop.time() == pytest.approx(5.0)

    jump(work())


def test_nobody_waits_longer_than_his_caller() -> None:
    async def work() -> None:
        throttle = Throttle(100, seconds=10, what="views", clock=asyncio.get_running_loop().time)
        await throttle.through(100, timeout=30)
        with pytest.raises(Overloaded):
            await throttle.through(1, timeout=0.5)

    jump(work())
