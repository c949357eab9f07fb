"""What all sections of the benchmark share: the photos, the servers, and how long a round takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.calls import Ensemble, Watched, ensemble, search_stub
from bench.photos import Photos
from bench.processes import Family
from bench.servers import Servers
from lookalike.bench.load import Call, Run, closed_loop

__all__ = ["Load", "Plan", "balanced", "loaded"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a section needs. A run is `warmup` and `seconds` long; `directory` is for whatever servers keep."""

    photos: Photos
    servers: Servers
    directory: Path
    rounds: int
    seconds: float
    warmup: float

    async def ensemble(self, stack: AsyncExitStack) -> Ensemble:
        """The bare ensemble, until the stack is closed."""
        triton = await self.servers.triton()
        return await stack.enter_async_context(ensemble(triton.grpc_address))

    async def stub(self, stack: AsyncExitStack, *, filled: Sequence[str] = ("default",)) -> Any:  # noqa: ANN401
        """The stub of the gateway, until the stack is closed."""
        return await stack.enter_async_context(search_stub(await self.servers.gateway(filled=filled)))

    async def closed(self, call: Call, *, callers: int, families: Sequence[str] = ()) -> Load:
        """A closed loop of a round's length."""
        return await loaded(
            call,
            callers=callers,
            seconds=self.seconds,
            warmup=self.warmup,
            families={name: self.servers.families[name] for name in families},
        )


@dataclass(frozen=True, slots=True)
class Load:
    """A run, and the processor milliseconds per OK answer of the servers' families and of this process (client)."""

    run: Run
    cpu_ms: dict[str, float]


async def loaded(
    call: Call, *, callers: int, seconds: float, warmup: float, families: dict[str, Family] | None = None
) -> Load:
    """Run a closed loop and take the processor time of everybody who has to do with it."""
    watched, families = Watched(call), families or {}
    before = {name: family.cpu_seconds() for name, family in families.items()}
    own = time.process_time()
    run = await closed_loop(watched, callers=callers, seconds=seconds, warmup=warmup)
    used = {name: family.cpu_seconds() - before[name] for name, family in families.items()}
    used["client"] = time.process_time() - own
    # The processor time is that of the warm-up, too, and so are the answers.
    return Load(run, {name: 1000 * spent / max(watched.answered, 1) for name, spent in used.items()})


async def balanced(bare: Ensemble, photos: Sequence[bytes]) -> tuple[tuple[bytes, ...], float]:
    """The photos in an order of which every stretch has about the same number of garments, and that number.

    A run of some seconds shows a stretch of them only; which one must not matter. The order is van der Corput's.
    """
    call = bare.call(photos)
    counts = [(await call(number)).garments for number in range(len(photos))]
    by_count = sorted(range(len(photos)), key=lambda number: counts[number])
    order = [by_count[place] for place in sorted(range(len(photos)), key=lambda place: f"{place:032b}"[::-1])]
    return tuple(photos[number] for number in order), sum(counts) / len(counts)
