"""Places that are given out in turn: round robin among callers, and to each caller in the order of his calls."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Displaced", "Turns"]


class Displaced(Exception):
    """Somebody who has fewer calls waiting has got this one's place in the queue."""


class Turns:
    """At most `limit` at once. However many calls one caller has waiting, the next place goes to another's."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._held: Counter[str] = Counter()
        # The order of the callers is that of their next turn.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def taken(self) -> int:
        """How many places are given out."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """How many calls wait for one."""
        return sum(map(len, self._waiting.values()))

    @property
    def full(self) -> bool:
        """Whether a newcomer would have to wait."""
        return self._free == 0 or bool(self._waiting)

    def of(self, caller: str) -> int:
        """How many places a caller has and waits for."""
        return self._held[caller] + len(self._waiting.get(caller, ()))

    def ahead(self, caller: str) -> int:
        """How many are served before a newcomer of this caller, those who are being served included."""
        own = len(self._waiting.get(caller, ()))
        return self.taken + sum(min(len(calls), own + 1) for calls in self._waiting.values())

    @asynccontextmanager
    async def held(self, caller: str = "") -> AsyncIterator[None]:
        """Hold a place during the block."""
        await self.take(caller)
        try:
            yield
        finally:
            self.give_back(caller)

    async def take(self, caller: str) -> None:
        """Wait for a place. Raises Displaced."""
        if not self.full:
            self._free -= 1
            self._held[caller] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(caller, turn)
            elif turn.exception() is None:
                # The place came in the same moment in which the caller left.
                self.give_back(caller)
            raise

    def give_back(self, caller: str) -> None:
        """Hand the caller's place to whoever's turn it is."""
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        self._free += 1
        while self._free and self._waiting:
            following = next(iter(self._waiting))
            calls = self._waiting.pop(following)
            turn = calls.popleft()
            if calls:
                self._waiting[following] = calls
            # One that has just left is still in the queue.
            if not turn.done():
                self._free -= 1
                self._held[following] += 1
                turn.set_result(None)

    def displace(self, caller: str) -> bool:
        """Send away the newest call of whoever has most waiting, if he has more than this caller with one more."""
        if not self._waiting:
            return False
        longest = max(self._waiting, key=lambda each: len(self._waiting[each]))
        calls = self._waiting[longest]
        if len(calls) <= len(self._waiting.get(caller, ())) + 1:
            return False
        turn = calls.pop()
        if not turn.done():
            turn.set_exception(Displaced())
        return True

    def _leave(self, caller: str, turn: asyncio.Future[None]) -> None:
        calls = self._waiting.get(caller, deque())
        if turn in calls:
            calls.remove(turn)
            if not calls:
                del self._waiting[caller]
