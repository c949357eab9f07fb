"""How much a caller may ask for in a time, and how many bytes all calls together may bring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lookalike_service.callers import Caller
from lookalike_service.errors import Overloaded, QuotaExceeded

__all__ = ["Quotas", "Room"]


@dataclass(slots=True)
class _Bucket:
    """Requests that a caller may still send, as of a moment."""

    left: float
    at: float


class Quotas:
    """Requests per second, by caller: a second's worth at once (one at least), filled up as time goes by."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: Caller) -> None:
        """Count one request. Raises QuotaExceeded with the time after which there is room for it."""
        rate = caller.requests_per_second
        if not rate:
            return
        now, most = self._now(), max(1.0, rate)
        bucket = self._buckets.setdefault(caller.name, _Bucket(most, now))
        bucket.left = min(most, bucket.left + rate * (now - bucket.at))
        bucket.at = now
        if bucket.left < 1:
            raise QuotaExceeded(
                f"{caller} has used up its quota of {rate:g} requests a second; send fewer, or ask for a larger one",
                retry_after=(1 - bucket.left) / rate,
            )
        bucket.left -= 1


class Room:
    """The bytes of all requests that are being answered, or wait for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def check(self) -> None:
        """Refuse a request that has not been read yet. Raises Overloaded when there is no room at all."""
        if self._taken >= self._limit:
            raise _crowded()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Count a request of so many bytes during the block. Raises Overloaded when they do not fit."""
        if size + self._taken > self._limit:
            raise _crowded()
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


def _crowded() -> Overloaded:
    return Overloaded("the photos of other calls fill the server's memory; try again a little later")
