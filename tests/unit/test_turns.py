"""Callers take turns: nobody's calls keep another's waiting behind all of them."""

from __future__ import annotations

import asyncio

import pytest

from lookalike_service.turns import Displaced, Turns


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Calls that take a place one after the other, and keep it until they are told to go."""

    def __init__(self, limit: int) -> None:
        self.turns = Turns(limit)
        self.served: list[str] = []
        self.displaced: list[str] = []
        self._going: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, *names: str) -> None:
        """Calls come in; the first letter is the caller's."""
        for name in names:
            self._going[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._call(name))
        await settled()

    async def _call(self, name: str) -> None:
        try:
            async with self.turns.held(name[0]):
                self.served.append(name)
                await self._going[name].wait()
        except Displaced:
            self.displaced.append(name)

    async def goes(self, *names: str) -> None:
        for name in names:
            self._going[name].set()
            await settled()

    async def all_go(self) -> None:
        for going in self._going.values():
            going.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_whoever_comes_late_waits_for_one_call_of_everybody_else() -> None:
    crowd = Crowd(1)
    await crowd.comes("a1", "a2", "a3", "a4", "b1", "c1", "b2")
    assert crowd.turns.ahead("d") == 1 + 3
    await crowd.all_go()
    assert crowd.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert (crowd.turns.taken, crowd.turns.waiting) == (0, 0)


async def test_a_single_caller_is_served_in_order() -> None:
    crowd = Crowd(2)
    await crowd.comes("a1", "a2", "a3", "a4", "a5")
    assert (crowd.turns.taken, crowd.turns.waiting, crowd.turns.of("a"), crowd.turns.ahead("a")) == (2, 3, 5, 5)
    await crowd.all_go()
    assert crowd.served == ["a1", "a2", "a3", "a4", "a5"]


async def test_who_leaves_the_queue_takes_nobodys_turn() -> None:
    crowd = Crowd(1)
    await crowd.comes("a1", "b1", "b2", "c1")
    crowd.tasks["b1"].cancel()
    await settled()
    assert crowd.turns.of("b") == 1
    crowd.tasks["b2"].cancel()
    await crowd.goes("a1")  # in the same moment
    assert crowd.served == ["a1", "c1"]
    await crowd.all_go()
    assert (crowd.turns.taken, crowd.turns.waiting) == (0, 0)


async def test_a_place_that_comes_as_its_caller_leaves_goes_to_the_next() -> None:
    turns = Turns(1)
    await turns.take("a")
    leaving, staying = asyncio.create_task(turns.take("b")), asyncio.create_task(turns.take("c"))
    await settled()
    turns.give_back("a")  # b has it now, but has not run since
    leaving.cancel()
    await settled()
    assert leaving.cancelled()
    assert staying.done()
    assert (turns.of("b"), turns.of("c")) == (0, 1)


async def test_of_a_full_queue_the_longest_part_gives_way() -> None:
    crowd = Crowd(1)
    await crowd.comes("a1", "a2", "a3", "a4", "b1")
    assert crowd.turns.displace("c")
    await settled()
    assert crowd.displaced == ["a4"]
    assert crowd.turns.displace("c")
    await settled()
    assert crowd.displaced == ["a4", "a3"]
    assert not crowd.turns.displace("c")  # everybody has one
    assert not crowd.turns.displace("a")
    await crowd.all_go()
    assert crowd.served == ["a1", "a2", "b1"]


async def test_an_empty_queue_has_nobody_to_give_way() -> None:
    assert not Turns(1).displace("a")


async def test_a_failure_gives_the_place_back() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="mine"):
        async with turns.held("a"):
            raise ValueError("mine")
    assert not turns.full
