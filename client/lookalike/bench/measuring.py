"""A run with what was seen beside it: the stages inside Triton, and what the generator itself cost."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lookalike.bench.load import Run
from lookalike.bench.triton import Stage, read_statistics, stages_between

__all__ = ["Measured", "measure"]

# Beyond these the figures say more about the generator than about the server.
BUSY, LATE_MS, LATE_SHARE = 0.8, 5.0, 0.1
# So many answers leave ten that are slower than p99, which is then more than chance.
FIRM = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """A run; `cpu` is the share of one core that this process used meanwhile, warm-up included."""

    run: Run
    cpu: float
    stages: tuple[Stage, ...] = ()

    def doubts(self) -> list[str]:
        """Sentences that say what makes the figures doubtful."""
        run, found = self.run, []
        if not run.requests:
            return ["no request fell into the window: measure longer, or at a higher rate"]
        if self.cpu > BUSY:
            found.append(
                f"this command itself used {self.cpu:.0%} of a core, so that the server may be faster than it looks: "
                "share the load among several of this command, on another machine"
            )
        if run.rate and run.late_ms > max(LATE_MS, LATE_SHARE * run.percentile(99)):
            found.append(
                f"1 % of the requests were begun {run.late_ms:.1f} ms late or more: this machine was too busy "
                f"for {run.rate:.4g} requests/s, and the latencies hold that delay; lower the rate, or share it out"
            )
        if 0 < run.codes["OK"] < FIRM:
            found.append(f"fewer than {FIRM:,} answers: p99 rests on the slowest few; measure longer for a firm figure")
        return found

    def to_json(self) -> dict[str, object]:
        """All of it as JSON can hold it."""
        return {
            **self.run.to_json(),
            "generator_cpu": self.cpu,
            "doubts": self.doubts(),
            "stages": [stage.to_json() for stage in self.stages],
        }


async def measure(start: Callable[[], Awaitable[Run]], *, triton: str = "") -> Measured:
    """Make a run; `triton` is the HTTP address whose stages are to be watched. Raises StatisticsMissing."""
    before = await read_statistics(triton) if triton else {}
    wall, cpu = time.perf_counter(), time.process_time()
    run = await start()
    cpu = (time.process_time() - cpu) / (time.perf_counter() - wall)
    after = await read_statistics(triton) if triton else {}
    return Measured(run, cpu, stages_between(before, after))
