"""Callers who search all the time, check what they get, and say what they did not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import lookalike
from chaos.expected import PAGE, Expected, Photo, hits_of, wrong
from lookalike import Client

__all__ = ["Load", "Trouble", "halted"]

# What a caller allows who wants an outage of ten seconds hidden from him.
TIMEOUT: Final = 15.0
# How much later than his deadline a caller may be answered.
LATE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that failed or was answered wrongly, and when."""

    at: float
    call: str
    what: str


@dataclass(slots=True)
class Load:
    """Some callers at once, each with one call after the other; `retrying` is what the Python client does by itself."""

    address: str
    expected: Expected
    callers: int = 3
    timeout: float = TIMEOUT
    retrying: bool = True
    done: int = 0
    in_flight: int = 0
    failed: list[Trouble] = field(default_factory=list)
    wrong: list[Trouble] = field(default_factory=list)
    slowest: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._caller(number)) for number in range(self.callers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await halted(self._tasks)

    def since(self, moment: float) -> tuple[list[Trouble], list[Trouble]]:
        """What has failed and what was wrong since then."""
        return [each for each in self.failed if each.at >= moment], [each for each in self.wrong if each.at >= moment]

    async def _caller(self, number: int) -> None:
        policy = None if self.retrying else lookalike.RetryPolicy(max_attempts=1)
        async with Client(self.address, timeout=self.timeout, retry=policy) as client:
            for turn in itertools.count(number):
                photo = self.expected[turn % len(self.expected)]
                name, call = (("search", _search), ("analyze", _analyze), ("tap", _tap))[turn % 3]
                await self._one(name, call, client, photo)

    async def _one(
        self, name: str, call: Callable[[Client, Photo], Awaitable[str]], client: Client, photo: Photo
    ) -> None:
        begin = time.monotonic()
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.timeout + LATE_SECONDS):
                fault = await call(client, photo)
        except TimeoutError:
            self.wrong.append(Trouble(begin, name, "hangs"))
        except lookalike.LookalikeError as error:
            self.failed.append(Trouble(time.monotonic(), name, f"{type(error).__name__} {error.reason} {error}"))
            await asyncio.sleep(0.1)
        else:
            self.done += 1
            if fault:
                self.wrong.append(Trouble(time.monotonic(), name, fault))
        finally:
            self.in_flight -= 1
            self.slowest = max(self.slowest, time.monotonic() - begin)


async def halted(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks that never end by themselves. Raises what ended one of them before."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _search(client: Client, photo: Photo) -> str:
    return wrong(photo, await client.search(photo.content, max_garments=1, page_size=PAGE))


async def _analyze(client: Client, photo: Photo) -> str:
    answer: Any = await client.analyze(photo.content, max_garments=1)
    categories = tuple(garment.category for garment in answer.garments)
    return "" if categories == photo.categories else f"{categories} instead of {photo.categories}"


async def _tap(client: Client, photo: Photo) -> str:
    answer = await client.search_garments([photo.token], page_size=PAGE)
    found = hits_of(answer)
    return "" if found[:1] and found[0][0] == photo.hits[0][0] else f"{found} instead of {photo.hits}"
