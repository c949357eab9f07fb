"""Who may work now: bounded waits, and refusals at once for whoever could not be done in time."""

from __future__ import annotations

import asyncio

import pytest

from lookalike_service import admission
from lookalike_service.admission import Pace, Permits
from lookalike_service.errors import Overloaded


class Clock:
    """Time that goes by when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


def worked(pace: Pace, clock: Clock, *, crowd: int, interval: float, times: int = 60) -> None:
    pace.begun(0)
    for _ in range(times):
        clock.now += interval
        pace.done(crowd)


def test_nobody_is_refused_before_anything_is_known() -> None:
    assert Pace().expected(10_000) == 0


def test_in_a_crowd_all_wait_in_turn(clock: Clock) -> None:
    pace = Pace()
    worked(pace, clock, crowd=20, interval=0.1)
    assert pace.expected(19) == pytest.approx(2.0, rel=0.2)
    assert pace.expected(0) == pytest.approx(0.1, rel=0.2)


def test_a_crowd_that_nobody_has_seen_is_not_refused_on_suspicion(clock: Clock) -> None:
    """One after the other took 0.1 s each; a hundred at once may be one batch for a GPU."""
    pace = Pace()
    worked(pace, clock, crowd=1, interval=0.1)
    assert pace.expected(100) == pytest.approx(0.2, rel=0.2)
    worked(pace, clock, crowd=100, interval=0.1, times=1)
    assert pace.expected(100) > 5


def test_idle_time_is_no_work(clock: Clock) -> None:
    pace = Pace()
    worked(pace, clock, crowd=4, interval=0.1)
    clock.now += 3600
    worked(pace, clock, crowd=4, interval=0.1, times=1)
    assert pace.expected(3) == pytest.approx(0.4, rel=0.2)


async def test_who_cannot_be_done_in_time_is_refused_at_once() -> None:
    permits = Permits(2, waiters=100, seconds=10, work="tests")

    async def one(timeout: float) -> None:
        async with permits.held(timeout=timeout):
            await asyncio.sleep(0.02)

    await asyncio.gather(*(one(10) for _ in range(30)))  # a hundred a second
    waiting = [asyncio.create_task(one(10)) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await one(0.1)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after >= 0.05
    await one(10)  # who has the time is served
    await asyncio.gather(*waiting)


async def test_a_flood_is_seen_by_those_who_came_before_it() -> None:
    """Whoever came into the flood may never be done; the pace must not wait for them to be learnt."""
    permits = Permits(100, waiters=100, seconds=10, work="tests")
    stuck = asyncio.Event()

    async def work(done: asyncio.Event | None) -> None:
        async with permits.held(timeout=10):
            await (done.wait() if done else asyncio.sleep(0.05))

    early = [asyncio.create_task(work(None)) for _ in range(3)]
    await asyncio.sleep(0)
    flood = [asyncio.create_task(work(stuck)) for _ in range(60)]
    await asyncio.gather(*early)
    with pytest.raises(Overloaded):
        async with permits.held(timeout=0.5):
            pass
    stuck.set()
    await asyncio.gather(*flood)


async def test_who_would_be_late_on_an_idle_server_is_not_refused_for_want_of_room() -> None:
    permits = Permits(2, waiters=100, seconds=10, work="tests")
    for _ in range(20):
        async with permits.held(timeout=10):
            await asyncio.sleep(0.01)
    async with permits.held(timeout=0.001):
        pass


async def test_a_full_queue_refuses_at_once_and_a_failure_gives_back() -> None:
    permits = Permits(1, waiters=0, seconds=10, work="tests")
    async with permits.held(timeout=10):
        with pytest.raises(Overloaded):
            async with permits.held(timeout=10):
                pass
    with pytest.raises(ValueError, match="mine"):
        async with permits.held(timeout=10):
            raise ValueError("mine")
    async with permits.held(timeout=10):
        pass


async def test_the_wait_for_a_permit_is_bounded() -> None:
    permits = Permits(1, waiters=5, seconds=0.02, work="tests")
    async with permits.held(timeout=10):
        with pytest.raises(Overloaded):
            async with permits.held(timeout=10):
                pass
