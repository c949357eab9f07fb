"""Where the time of a call went: its phases, and its calls to the servers beside us, as timings, metrics and spans."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from lookalike_service import metrics
from lookalike_service.tracing import Attributes, span

__all__ = ["Stopwatch", "Timings", "asking"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one call: waiting for a permit, the models, the index, and everything else that we did."""

    queue: float
    inference: float
    search: float
    own: float

    def header(self) -> str:
        """As the HTTP header Server-Timing writes it, in milliseconds."""
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in self.parts())

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Each phase with its seconds."""
        return (("queue", self.queue), ("inference", self.inference), ("search", self.search), ("own", self.own))


class Stopwatch:
    """Takes the times of one call; what no phase claims is our own work."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._phases = {"queue": 0.0, "inference": 0.0, "search": 0.0}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a block for `queue`, `inference` or `search`; blocks must not overlap.

        In a trace each block is a span.
        """
        begin = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            self._phases[name] += time.perf_counter() - begin

    def timings(self) -> Timings:
        """What has been taken until now."""
        whole = time.perf_counter() - self._begin
        return Timings(**self._phases, own=max(0.0, whole - sum(self._phases.values())))


@contextlib.contextmanager
def asking(server: str, operation: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Take the time of a call to `server`, and give it a span with these attributes when the call is traced.

    Attributes are numbers and names of our own: never a vector, a filter, or anything else of a caller's.
    """
    begin, outcome = time.perf_counter(), "ok"
    named: Attributes = {f"lookalike.{name}": value for name, value in attributes.items()}
    try:
        with span(f"{server} {operation}", named, kind=SpanKind.CLIENT):
            yield
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "cancelled"
        raise
    except BaseException:
        outcome = "error"
        raise
    finally:
        metrics.server_asked(server, operation, outcome=outcome, seconds=time.perf_counter() - begin)
