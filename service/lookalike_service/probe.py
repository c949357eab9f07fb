"""Has the models look at a small photo every second: a Triton can call itself ready and yet see nothing."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from lookalike_service import metrics
from lookalike_service.errors import DeadlineExceeded, LookalikeError, Overloaded
from lookalike_service.model import GarmentFinder

__all__ = ["PHOTO", "Probe"]

logger = logging.getLogger(__name__)

# One failure may be a request that met a restart; two in a row are an outage.
FAILURES: Final = 2
# A server that is merely busy answers somebody within this; one that answers nobody for so long is stuck.
STUCK_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 5.0


def _grey_png(side: int) -> bytes:
    """A PNG of one grey, `side` pixels square."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\x80" * (3 * side) for _ in range(side))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PHOTO: Final = _grey_png(32)


class Probe:
    """Says `changed(seeing)` when the models stop to see, and when they see again.

    While callers' photos are answered they are proof enough, and nothing is asked.
    """

    def __init__(
        self,
        finder: Callable[[], GarmentFinder],
        *,
        seconds: float,
        changed: Callable[[bool], Awaitable[None]],
        photo: bytes = PHOTO,
    ) -> None:
        """`finder` names the models in use, or raises LookalikeError; `seconds` lie between two looks."""
        self._finder = finder
        self._seconds = seconds
        self._changed = changed
        self._photo = photo
        self._failures = 0
        self._seeing = True
        self._began = time.monotonic()

    async def run(self) -> None:
        """Look until cancelled, the first time after a while: whoever starts has just been told what is served."""
        while True:
            # What has failed once is looked at again soon, so that an outage is known in a fraction of a second.
            await asyncio.sleep(self._seconds / 5 if 0 < self._failures < FAILURES else self._seconds)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        self._failures = 0 if await self._sees() else self._failures + 1
        seeing = self._failures < FAILURES
        if seeing is not self._seeing:
            self._seeing = seeing
            logger.log(
                logging.INFO if seeing else logging.ERROR,
                "the models look at photos again" if seeing else "the models do not look at photos any more",
            )
            await self._changed(seeing)
        metrics.models_seeing(seeing)

    async def _sees(self) -> bool:
        try:
            finder = self._finder()
        except LookalikeError as error:
            logger.warning("there are no models to ask: %s", error)
            return False
        proven = time.monotonic() - finder.answered < self._seconds and finder.failed < finder.answered
        return proven or await self._asked(finder)

    async def _asked(self, finder: GarmentFinder) -> bool:
        outcome = "ok"
        try:
            await finder.find(self._photo, timeout=LONGEST_SECONDS)
        except (Overloaded, DeadlineExceeded):
            # Busy is not blind, unless nobody at all is answered.
            outcome = "late"
            return time.monotonic() - max(finder.answered, self._began) < STUCK_SECONDS
        except Exception as error:
            outcome = "error"
            logger.warning("the models cannot look at the probe's photo: %s", error)
            return False
        finally:
            metrics.probed(outcome)
        return True
