"""Keeps servers alive: what dies is started again, at once the first time, then after pauses.

Pauses grow long only while it does not come up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from lookalike_service.errors import StartupError

__all__ = ["POLL_SECONDS", "Keeper", "Kept"]

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
# Who lived so long is not the one who dies at every start.
STEADY_SECONDS: Final = 20.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
# Who came up and was ended soon after may have been killed a second time: callers are not to wait for us.
LONGEST_PAUSE_AFTER_SERVING: Final = 2.0


class Kept(Protocol):
    """A server that can be started again; its methods block."""

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        ...

    @property
    def exit_status(self) -> int | None:
        """How its process ended, as a shell says it (137: killed); None while it runs, or where there is none."""
        ...

    def start(self) -> object:
        """Start it and wait until it serves. Raises StartupError."""
        ...


class Keeper:
    """Watches one server and starts it again when it has died."""

    def __init__(self, name: str, server: Kept, *, restarted: Callable[[], None] = lambda: None) -> None:
        """`name` is for the log; `restarted` is told of every new start that went well."""
        self.lock = asyncio.Lock()
        self._name = name
        self._server = server
        self._restarted = restarted
        self._began = 0.0
        self._pause = 0.0
        self._served = True

    async def keep(self) -> None:
        """Watch until cancelled. Whoever stops the server on purpose holds `lock` until it is up again."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._server.running:
                continue
            async with self.lock:
                if not self._server.running:
                    await self._again()

    async def _again(self) -> None:
        steady = not self._began or time.monotonic() - self._began >= STEADY_SECONDS
        longest = LONGEST_PAUSE_AFTER_SERVING if self._served else LONGEST_PAUSE
        self._pause = 0.0 if steady else min(longest, max(FIRST_PAUSE, 2 * self._pause))
        status = self._server.exit_status
        how = "" if status is None else f" with status {status}"
        logger.error("%s has died%s and is started again", self._name, how)
        await asyncio.sleep(self._pause)
        begin = time.monotonic()
        try:
            await asyncio.to_thread(self._server.start)
        except StartupError as error:
            self._served = False
            logger.error("%s does not start again: %s", self._name, error)
        else:
            self._served = True
            logger.info("%s is back after %.1f s", self._name, time.monotonic() - begin)
            self._restarted()
        self._began = time.monotonic()
