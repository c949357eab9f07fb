"""How far a long run is, in the log."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

__all__ = ["Progress", "batches"]

logger = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0

Item = TypeVar("Item")


class Progress:
    """Logs `looked at 1,200 of 10,000 photos, 85.3/s, about 103 s left` now and then."""

    def __init__(self, doing: str, what: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._doing, self._what, self._total = doing, what, total
        self._clock = clock
        self._began = self._said = clock()
        self._done = 0

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        now = self._clock()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            rate = self._done / (now - self._began)
            left = max(0.0, self._total - self._done) / rate
            logger.info(
                "%s %s of %s %s, %.1f/s, about %.0f s left",
                self._doing, f"{self._done:,}", f"{self._total:,}", self._what, rate, left,
            )  # fmt: skip


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items, so many at a time."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch
