"""Searches that wait at the same moment for the same thing go to Milvus as one call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["SharedCalls", "Vectors"]

Key = TypeVar("Key", bound=Hashable)
Hits = TypeVar("Hits")
Vectors = Sequence[npt.NDArray[np.float32]]
Send = Callable[[Key, Vectors, float], Awaitable[Sequence[Hits]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Hits]):
    vectors: Vectors
    deadline: float  # of time.monotonic
    found: asyncio.Future[Sequence[Hits]]


class SharedCalls(Generic[Key, Hits]):
    """Sends at once while few calls are under way; what comes meanwhile goes together when one of them is back.

    A call to Milvus costs some 4 ms before its first vector and half a millisecond for each: at high rates one call for
    the vectors of many searches serves several times more of them, and a lone search waits for nobody.
    """

    def __init__(self, send: Send[Key, Hits], *, at_once: int, most: int) -> None:
        """`send` gets a key, the vectors and seconds; `at_once` calls per key hold `most` vectors, or one search."""
        self._send = send
        self._at_once = at_once
        self._most = most
        self._waiting: defaultdict[Key, deque[_Waiting[Hits]]] = defaultdict(deque)
        self._under_way: Counter[Key] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, key: Key, vectors: Vectors, *, seconds: float) -> Sequence[Hits]:
        """The hits of every vector. Raises what `send` raises; who is cancelled leaves the others alone."""
        found: asyncio.Future[Sequence[Hits]] = asyncio.get_running_loop().create_future()
        one = _Waiting(vectors, time.monotonic() + seconds, found)
        self._waiting[key].append(one)
        self._begin(key)
        return await found

    def _begin(self, key: Key) -> None:
        while self._under_way[key] < self._at_once and (batch := self._batch(key)):
            self._under_way[key] += 1
            task = asyncio.create_task(self._call(key, batch))
            self._tasks.add(task)
            for one in batch:
                one.found.add_done_callback(partial(_cancel_unless_wanted, task, batch))
            task.add_done_callback(self._tasks.discard)
        if not self._under_way[key]:
            # Filters are of the callers' making: keys that nobody waits for any more must not stay.
            del self._under_way[key], self._waiting[key]

    def _batch(self, key: Key) -> list[_Waiting[Hits]]:
        waiting, vectors = self._waiting[key], 0
        batch: list[_Waiting[Hits]] = []
        while waiting and (not batch or vectors + len(waiting[0].vectors) <= self._most):
            one = waiting.popleft()
            if not one.found.done():
                batch.append(one)
                vectors += len(one.vectors)
        return batch

    async def _call(self, key: Key, batch: list[_Waiting[Hits]]) -> None:
        seconds = max(one.deadline for one in batch) - time.monotonic()
        try:
            hits = await self._send(key, [vector for one in batch for vector in one.vectors], max(seconds, 0.001))
            begin = 0
            for one in batch:
                end = begin + len(one.vectors)
                if not one.found.done():
                    one.found.set_result(hits[begin:end])
                begin = end
        except Exception as error:
            for one in batch:
                if not one.found.done():
                    one.found.set_exception(error)
        finally:
            for one in batch:
                one.found.cancel()  # does nothing to those that are answered
            self._under_way[key] -= 1
            self._begin(key)


def _cancel_unless_wanted(task: asyncio.Task[None], batch: Sequence[_Waiting[Hits]], _: object) -> None:
    """End a call when the last of those who wait for it has left."""
    if all(one.found.cancelled() for one in batch):
        task.cancel()
