"""Streams of work: order, bounds, and what happens when either side goes away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from lookalike_service.ordered import in_order


async def numbers(count: int, read: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield number


async def test_answers_keep_the_order_of_the_items() -> None:
    async def work(position: int, item: int) -> int:
        await asyncio.sleep(random.Random(item).random() / 100)
        assert position == item
        return item * 2

    assert [answer async for answer in in_order(numbers(50), work, in_flight=8)] == [n * 2 for n in range(50)]


async def test_no_item_is_read_before_there_is_room() -> None:
    read: list[int] = []
    gate = asyncio.Event()

    async def work(position: int, item: int) -> int:
        await gate.wait()
        return item

    answers = in_order(numbers(20, read), work, in_flight=4)
    first = asyncio.ensure_future(anext(answers))
    await asyncio.sleep(0.02)
    assert read == [0, 1, 2, 3]
    gate.set()
    assert await first == 0
    assert [answer async for answer in answers] == list(range(1, 20))


async def test_work_is_cancelled_when_nobody_waits_for_it() -> None:
    cancelled: list[int] = []

    async def work(position: int, item: int) -> int:
        if item == 0:
            return 0
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    answers = in_order(numbers(10), work, in_flight=4)
    assert await anext(answers) == 0
    await asyncio.sleep(0.01)
    await answers.aclose()
    assert sorted(cancelled) == [1, 2, 3]


async def test_a_failure_of_the_work_ends_the_stream() -> None:
    async def work(position: int, item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    seen = []
    with pytest.raises(ValueError, match="two"):
        async for answer in in_order(numbers(5), work, in_flight=2):
            seen.append(answer)
    assert seen == [0, 1]


async def test_a_failure_of_the_items_ends_the_stream_after_their_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise ConnectionError("cut")

    async def work(position: int, item: int) -> int:
        return item

    seen = []
    with pytest.raises(ConnectionError, match="cut"):
        async for answer in in_order(broken(), work, in_flight=2):
            seen.append(answer)
    assert seen == [0]


async def test_no_items_no_answers() -> None:
    async def work(position: int, item: int) -> int:
        raise AssertionError("nothing to do")

    assert [answer async for answer in in_order(numbers(0), work, in_flight=3)] == []
