"""What dies is started again; what does not come up waits longer and longer, what served only a little."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from lookalike_service import keeping
from lookalike_service.errors import StartupError
from lookalike_service.keeping import Keeper


class Server:
    """Runs until it is told to die; `failing` starts do not succeed."""

    def __init__(self) -> None:
        self.running = True
        self.exit_status: int | None = None
        self.starts = 0
        self.failing = 0

    def start(self) -> None:
        self.starts += 1
        if self.failing:
            self.failing -= 1
            raise StartupError("not yet")
        self.running = True


@contextlib.asynccontextmanager
async def kept(server: Server, restarted: Callable[[], None] = lambda: None) -> AsyncIterator[Keeper]:
    keeper = Keeper("the server", server, restarted=restarted)
    task = asyncio.create_task(keeper.keep())
    yield keeper
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(keeping, "FIRST_PAUSE", 0.01)


async def test_what_dies_is_started_again() -> None:
    server, told = Server(), []
    async with kept(server, lambda: told.append(1)):
        for count in (1, 2):
            server.running = False
            await until(lambda: server.running)
            assert (server.starts, len(told)) == (count, count)


async def test_the_log_says_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    # A runbook tells a kill for want of memory (137) from a crash (139) by it.
    server = Server()
    async with kept(server):
        for status, said in ((137, "the server has died with status 137 and"), (None, "the server has died and")):
            server.exit_status, server.running = status, False
            await until(lambda: server.running)
            assert any(said in message for message in caplog.messages)


async def test_a_start_that_fails_is_tried_again() -> None:
    server = Server()
    server.failing = 3
    async with kept(server):
        server.running = False
        await until(lambda: server.running)
    assert server.starts == 4


async def test_who_holds_the_lock_is_not_disturbed() -> None:
    server = Server()
    async with kept(server) as keeper:
        async with keeper.lock:
            server.running = False
            await asyncio.sleep(0.05)
            assert server.starts == 0
            server.running = True
        await asyncio.sleep(0.05)
        assert server.starts == 0


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The keeper's pauses, which are not waited for."""
    noted: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds > 0.015:
            noted.append(seconds)
        await sleep(0 if seconds > 0.015 else seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    return noted


async def test_pauses_grow_while_it_does_not_come_up(pauses: list[float]) -> None:
    server = Server()
    server.failing = 14
    async with kept(server):
        server.running = False
        await until(lambda: server.running)
    assert pauses == sorted(pauses)
    assert pauses[3] == pytest.approx(2 * pauses[2])
    assert pauses[-1] == keeping.LONGEST_PAUSE


async def test_who_served_and_is_killed_again_is_soon_back(pauses: list[float]) -> None:
    server = Server()
    async with kept(server):
        for _ in range(12):
            server.running = False
            await until(lambda: server.running)
    assert max(pauses) == keeping.LONGEST_PAUSE_AFTER_SERVING
