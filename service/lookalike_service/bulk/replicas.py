"""Several Tritons of the same models as one GarmentFinder."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Sequence
from typing import Final, Self

from lookalike_service.errors import ModelUnavailable
from lookalike_service.model import Box, Found
from lookalike_service.triton import TritonFinder

__all__ = ["Replicas"]

logger = logging.getLogger(__name__)

# One that has failed is left alone for so long; the others do its work meanwhile.
REST_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0


class Replicas:
    """Sends each photo to the Triton with the fewest of ours under way, and to another one when that fails."""

    def __init__(self, replicas: Sequence[_Replica], first: TritonFinder) -> None:
        """Not for callers: see `connect`."""
        self.capacity = first.capacity * len(replicas)
        self.answered = self.failed = 0.0  # replicas.py minds by itself who fails
        self.embedding_version = first.embedding_version
        self.embedding_size = first.embedding_size
        self.vocabularies = first.vocabularies
        self._replicas = replicas

    @classmethod
    async def connect(
        cls, addresses: Sequence[str], *, embedding_version: int, capacity: int = 0, timeout: float
    ) -> Self:
        """Reach one of them, and the others when their turn comes. `timeout` in seconds holds for each.

        `capacity` is how many photos each may have of ours at once, 0 for what its configuration tells. Raises
        ModelUnavailable when none is there.
        """
        replicas = [_Replica(address, embedding_version, capacity) for address in addresses]
        # Workers that begin together shall not all begin with the same one.
        random.shuffle(replicas)
        failures: list[str] = []
        for replica in replicas:
            try:
                return cls(replicas, await replica.connected(timeout=timeout))
            except ModelUnavailable as error:
                failures.append(error.message)
                replica.rest(REST_SECONDS)
        raise ModelUnavailable("; ".join(failures))

    async def find(
        self,
        image: bytes,
        *,
        regions: Sequence[Box] = (),
        min_score: float = 0.0,
        max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:
        """As TritonFinder.find; ModelUnavailable only after all have failed until the time was over."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            replica = min(self._replicas, key=lambda each: (each.resting(), each.under_way))
            if (pause := replica.resting()) > 0:
                if timeout is None or time.monotonic() + pause >= end:
                    raise ModelUnavailable(replica.failure)
                await asyncio.sleep(pause)
                continue
            replica.under_way += 1
            try:
                finder = await replica.connected(timeout=CONNECT_SECONDS)
                left = None if timeout is None else end - time.monotonic()
                return await finder.find(
                    image, regions=regions, min_score=min_score, max_garments=max_garments, timeout=left
                )
            except ModelUnavailable as error:
                logger.warning("%s is left alone for a while: %s", replica.address, error.message)
                replica.failure = error.message
                replica.rest(REST_SECONDS)
            finally:
                replica.under_way -= 1

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(replica.close() for replica in self._replicas))


class _Replica:
    def __init__(self, address: str, embedding_version: int, capacity: int) -> None:
        self.address = address
        self.under_way = 0
        self.failure = f"Triton at {address} cannot look at photos right now"
        self._version = embedding_version
        self._capacity = capacity
        self._finder: TritonFinder | None = None
        self._rests_until = 0.0

    async def connected(self, *, timeout: float) -> TritonFinder:
        """Its finder; while the first caller connects, it rests for all others. Raises ModelUnavailable."""
        if self._finder is None:
            self.rest(timeout)
            self._finder = await TritonFinder.connect(
                self.address, embedding_version=self._version, capacity=self._capacity, timeout=timeout
            )
            self.rest(0.0)
        return self._finder

    def rest(self, seconds: float) -> None:
        self._rests_until = time.monotonic() + seconds

    def resting(self) -> float:
        """Seconds until it may be asked again, 0 when it may."""
        return max(0.0, self._rests_until - time.monotonic())

    async def close(self) -> None:
        if self._finder:
            await self._finder.close()
