"""Quotas, and what they are for: one caller's flood is not felt by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from lookalike_service import admission
from lookalike_service.admission import Permits
from lookalike_service.callers import NOBODY, Caller
from lookalike_service.errors import Overloaded, QuotaExceeded
from lookalike_service.quota import Quotas, Room
from support_clock import jump

SERVICE_SECONDS = 0.04
PERMITS = 4


class Clock:
    """Time that goes by when told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def admitted(quotas: Quotas, caller: Caller, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            quotas.take(caller)
            count += 1
        except QuotaExceeded:
            pass
    return count


def test_a_second_s_worth_at_once_and_then_as_time_goes_by() -> None:
    clock, caller = Clock(), Caller("web", requests_per_second=10)
    quotas = Quotas(clock.monotonic)
    assert admitted(quotas, caller, 50) == 10
    with pytest.raises(QuotaExceeded) as refused:
        quotas.take(caller)
    assert refused.value.retry_after == pytest.approx(0.1)
    clock.now += 0.55
    assert admitted(quotas, caller, 50) == 5
    clock.now += 3600
    assert admitted(quotas, caller, 50) == 10


def test_each_caller_has_his_own_and_a_slow_one_has_one_request_at_least() -> None:
    quotas = Quotas(Clock().monotonic)
    assert admitted(quotas, Caller("a", requests_per_second=0.5), 9) == 1
    assert admitted(quotas, Caller("b", requests_per_second=3), 9) == 3
    assert admitted(quotas, Caller("c"), 9) == 9


def test_a_quota_that_changes_holds_from_the_next_request_on() -> None:
    quotas = Quotas(Clock().monotonic)
    assert admitted(quotas, Caller("a", requests_per_second=5), 9) == 5
    assert admitted(quotas, Caller("a"), 9) == 9
    assert admitted(quotas, Caller("a", requests_per_second=5), 9) == 0


def test_room_is_given_back() -> None:
    room = Room(100)
    with room.held(60):
        with pytest.raises(Overloaded), room.held(41):
            pass
        with room.held(40), pytest.raises(Overloaded):
            room.check()
    with room.held(100):
        pass
    room.check()


async def flood(photo: Callable[[Caller], asyncio.Task[None]], caller: Caller, *, rate: float, seconds: float) -> None:
    for _ in range(round(rate * seconds)):
        photo(caller)
        await asyncio.sleep(1 / rate)


def latencies(
    monkeypatch: pytest.MonkeyPatch, *, well_behaved: Caller, noisy: Caller | None, noise: float
) -> tuple[list[float], int]:
    """Seconds that each call of the well-behaved caller took at 20 a second, and how many failed.

    Four permits of 40 ms each serve 100 photos a second. Time jumps, so that the machine has no say in it.
    """

    async def run() -> tuple[list[float], int]:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(admission, "time", type("LoopTime", (), {"monotonic": staticmethod(loop.time)}))
        quotas = Quotas(loop.time)
        permits = Permits(PERMITS, waiters=64, seconds=10, work="tests")
        took: list[float] = []
        failed = 0
        tasks: set[asyncio.Task[None]] = set()

        async def call(caller: Caller) -> None:
            nonlocal failed
            begin = loop.time()
            try:
                quotas.take(caller)
                async with permits.held(timeout=2.0, caller=caller, most=caller.photos_at_once):
                    await asyncio.sleep(SERVICE_SECONDS)
                if caller is well_behaved:
                    took.append(loop.time() - begin)
            except Overloaded:
                failed += caller is well_behaved

        def photo(caller: Caller) -> asyncio.Task[None]:
            task = asyncio.create_task(call(caller))
            tasks.add(task)
            return task

        floods = [flood(photo, well_behaved, rate=20, seconds=30)]
        if noisy is not None:
            floods.append(flood(photo, noisy, rate=noise, seconds=30))
        await asyncio.gather(*floods)
        await asyncio.gather(*tasks)
        return took, failed

    return jump(run())


def p99(seconds: list[float]) -> float:
    return float(np.percentile(seconds, 99))


def test_ten_times_its_quota_of_another_is_not_felt(monkeypatch: pytest.MonkeyPatch) -> None:
    well_behaved = Caller("shop", requests_per_second=30)
    noisy = Caller("noisy", requests_per_second=60)
    alone, _ = latencies(monkeypatch, well_behaved=well_behaved, noisy=None, noise=0)
    beside, failed = latencies(monkeypatch, well_behaved=well_behaved, noisy=noisy, noise=600)
    assert failed == 0
    assert p99(beside) <= 2 * p99(alone)


def test_a_flood_without_any_quota_costs_one_turn_and_refuses_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 photos a second where 100 can be served: the queue is always full, and full of one caller's."""
    well_behaved, noisy = Caller("shop"), Caller("noisy")
    alone, _ = latencies(monkeypatch, well_behaved=well_behaved, noisy=None, noise=0)
    beside, failed = latencies(monkeypatch, well_behaved=well_behaved, noisy=noisy, noise=600)
    assert failed == 0
    assert len(beside) == 600
    assert p99(beside) <= 2 * p99(alone)


def test_the_same_flood_from_one_queue_would_be_felt(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the two tests above can fail: both callers under one name."""
    well_behaved, noisy = Caller("shop", requests_per_second=0), Caller("shop", frozenset(), requests_per_second=0)
    alone, _ = latencies(monkeypatch, well_behaved=well_behaved, noisy=None, noise=0)
    beside, failed = latencies(monkeypatch, well_behaved=well_behaved, noisy=noisy, noise=600)
    assert failed > 100 or p99(beside) > 2 * p99(alone)


def test_the_server_itself_has_no_quota() -> None:
    assert admitted(Quotas(Clock().monotonic), NOBODY, 1000) == 1000
