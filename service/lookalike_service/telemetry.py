"""Logs, and where the time of a call went."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Stopwatch", "Timings", "configure_logging"]


def configure_logging(level: str) -> None:
    """Write one line per event to standard error."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # pymilvus logs every failed call with a traceback; ours says it once.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one call: waiting for a permit, the models, the index, and everything else that we did."""

    queue: float
    inference: float
    search: float
    own: float

    def header(self) -> str:
        """As the HTTP header Server-Timing writes it, in milliseconds."""
        parts = (("queue", self.queue), ("inference", self.inference), ("search", self.search), ("own", self.own))
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts)


class Stopwatch:
    """Takes the times of one call; what no phase claims is our own work."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._phases = {"queue": 0.0, "inference": 0.0, "search": 0.0}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a block for `queue`, `inference` or `search`; blocks must not overlap."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._phases[name] += time.perf_counter() - begin

    def timings(self) -> Timings:
        """What has been taken until now."""
        whole = time.perf_counter() - self._begin
        return Timings(**self._phases, own=max(0.0, whole - sum(self._phases.values())))
