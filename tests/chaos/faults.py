"""One fault after the other: something dies, and the time is taken until everything is answered again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import grpc

from chaos.load import Load
from lookalike.v1.search_service_pb2 import AnalyzeImageRequest, SearchProductsRequest
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub

__all__ = ["Outcome", "Prober", "struck"]

# So many answers in a row, and everybody's instances have had their turn.
STEADY: Final = 8
# Within it a fault shows itself, or nobody will notice it.
SHOWS_SECONDS: Final = 3.0
MOST_SECONDS: Final = 180.0
PROBE_SECONDS: Final = 5.0


@dataclass(slots=True)
class Outcome:
    """What one fault did. Seconds count from the fault, or from the restart of a server that we start ourselves."""

    fault: str
    in_flight: int
    failed: int
    wrong: int
    recovery_s: float
    lost: int = 0
    surplus: int = 0
    examples: list[str] = field(default_factory=list)

    def append_to(self, path: Path) -> None:
        """Add it as a line, so that runs add up."""
        with path.open("a") as file:
            file.write(json.dumps(asdict(self)) + "\n")


@dataclass(slots=True)
class Prober:
    """Asks without any retry; one answer is a photo looked at and searched with."""

    address: str
    photo: bytes

    async def recovered(self, since: float, *, shows: float = SHOWS_SECONDS) -> float:
        """Seconds from `since` to the first of a row of good answers; 0 when none failed within `shows` seconds."""
        row, first, failed = 0, 0.0, False
        options = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 200))
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            stub = SearchServiceStub(channel)
            while time.monotonic() - since < MOST_SECONDS:
                begin = time.monotonic()
                try:
                    await stub.AnalyzeImage(
                        AnalyzeImageRequest(image=self.photo, max_garments=1), timeout=PROBE_SECONDS
                    )
                    await stub.SearchProducts(
                        SearchProductsRequest(image=self.photo, max_garments=1), timeout=PROBE_SECONDS
                    )
                except grpc.aio.AioRpcError:
                    failed, row = True, 0
                    await asyncio.sleep(0.05)
                    continue
                row += 1
                first = time.monotonic() if row == 1 else first
                if row >= STEADY and (failed or begin - since > shows):
                    return first - since if failed else 0.0
        return MOST_SECONDS


async def struck(
    fault: str,
    strike: Callable[[], Awaitable[None]],
    *,
    load: Load,
    prober: Prober,
    heal: Callable[[], Awaitable[None]] | None = None,
) -> Outcome:
    """Strike under load and wait until everything is well again; `heal` starts what nobody else does."""
    begin, in_flight = time.monotonic(), load.in_flight
    await strike()
    healing = asyncio.ensure_future(heal()) if heal is not None else None
    recovery = await prober.recovered(begin)
    if healing is not None:
        await healing
    await asyncio.sleep(0.5)
    failed, wrong = load.since(begin)
    examples = sorted({f"{each.call}: {each.what[:200]}" for each in [*wrong, *failed]})[:4]
    return Outcome(fault, in_flight, len(failed), len(wrong), round(recovery, 2), examples=examples)
