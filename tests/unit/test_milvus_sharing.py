"""Searches of one kind that wait at the same moment are one call, and stay strangers to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from lookalike_service.milvus_sharing import SharedCalls, Vectors


class Server:
    """Answers each vector with its first number, once `gate` is open; remembers what each call held."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[float]]] = []
        self.seconds: list[float] = []
        self.gate = asyncio.Event()
        self.ended = 0
        self.failure: Exception | None = None

    async def send(self, key: str, vectors: Vectors, seconds: float) -> Sequence[float]:
        self.calls.append((key, [float(vector[0]) for vector in vectors]))
        self.seconds.append(seconds)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if self.failure:
            raise self.failure
        return [float(vector[0]) for vector in vectors]


def vectors(*numbers: float) -> Vectors:
    return [np.array([number], np.float32) for number in numbers]


def asked(
    shared: SharedCalls[str, float], *numbers: float, key: str = "a", seconds: float = 5
) -> asyncio.Task[Sequence[float]]:
    return asyncio.create_task(shared.search(key, vectors(*numbers), seconds=seconds))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_search_goes_at_once() -> None:
    server = Server()
    server.gate.set()
    shared = SharedCalls(server.send, at_once=1, most=8)
    assert list(await shared.search("a", vectors(1, 2), seconds=5)) == [1, 2]
    assert server.calls == [("a", [1, 2])]


async def test_what_comes_meanwhile_goes_together_and_everybody_gets_his_own() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    searches = [asked(shared, 1), asked(shared, 2, 3), asked(shared, 4)]
    await settled()
    assert server.calls == [("a", [1])]
    server.gate.set()
    assert [list(found) for found in await asyncio.gather(*searches)] == [[1], [2, 3], [4]]
    assert server.calls == [("a", [1]), ("a", [2, 3, 4])]


async def test_other_kinds_do_not_wait() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    searches = [asked(shared, 1), asked(shared, 2, key="b")]
    await settled()
    assert server.calls == [("a", [1]), ("b", [2])]
    server.gate.set()
    await asyncio.gather(*searches)


async def test_no_call_holds_more_than_fit_unless_one_search_does() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=3)
    searches = [asked(shared, 0), asked(shared, 1, 2), asked(shared, 3, 4), asked(shared, 5, 6, 7, 8)]
    server.gate.set()
    await asyncio.gather(*searches)
    assert [held for _, held in server.calls] == [[0], [1, 2], [3, 4], [5, 6, 7, 8]]


async def test_who_leaves_takes_nobody_along() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    first, gone, stays = asked(shared, 1), asked(shared, 2), asked(shared, 3)
    await settled()
    first.cancel()
    gone.cancel()
    await settled()
    server.gate.set()
    assert list(await stays) == [3]
    assert server.calls == [("a", [1]), ("a", [3])]  # nothing is sent for one who is gone


async def test_a_failure_is_everybodys_of_that_call_alone() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    searches = [asked(shared, 1), asked(shared, 2), asked(shared, 3)]
    await settled()
    server.failure = OSError("away")
    server.gate.set()
    outcomes = await asyncio.gather(*searches, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["away"] * 3
    server.failure = None
    assert list(await shared.search("a", vectors(4), seconds=5)) == [4]


async def test_a_call_has_the_time_of_the_most_patient() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    searches = [asked(shared, 1), asked(shared, 2, seconds=1), asked(shared, 3, seconds=9)]
    await settled()
    server.gate.set()
    await asyncio.gather(*searches)
    assert server.seconds == [pytest.approx(5, abs=0.5), pytest.approx(9, abs=0.5)]


async def test_a_call_that_nobody_waits_for_any_more_is_ended() -> None:
    server = Server()
    shared = SharedCalls(server.send, at_once=1, most=8)
    first, one, other = asked(shared, 1), asked(shared, 2), asked(shared, 3)
    await settled()
    first.cancel()
    await settled()
    assert [held for _, held in server.calls] == [[1], [2, 3]]  # its place is free for the next ones at once
    one.cancel()
    await settled()
    assert server.ended == 1
    other.cancel()
    await settled()
    assert server.ended == 2
    server.gate.set()
    assert list(await shared.search("a", vectors(4), seconds=5)) == [4]
