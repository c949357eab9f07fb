"""The highest rate at which a server still answers in time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lookalike.bench.load import Run

__all__ = ["Sweep", "sweep"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every run of a sweep in the order in which it was made, and the one of the highest rate that held the bound.

    `highest` is None when even the lowest rate broke it. `open_ended` says that no rate broke it: a higher `high` may
    find more.
    """

    bound_ms: float
    percentile: float
    points: tuple[Run, ...]
    highest: Run | None
    open_ended: bool

    def to_json(self) -> dict[str, object]:
        """The sweep as JSON can hold it."""
        return {
            "bound_ms": self.bound_ms,
            "percentile": self.percentile,
            "highest_rate": self.highest.rate if self.highest else None,
            "open_ended": self.open_ended,
            "points": [run.to_json() for run in self.points],
        }


async def sweep(
    make_run: Callable[[float], Awaitable[Run]],
    *,
    bound_ms: float,
    low: float,
    high: float,
    percentile: float = 99.0,
    least_ok: float = 0.999,
    precision: float = 0.05,
    tries: int = 1,
) -> Sweep:
    """Find the highest rate of `low` to `high` whose percentile is at most `bound_ms`, with nearly all answers OK.

    It doubles the rate until the bound breaks, so that a server is never asked for much more than it can do, and then
    halves the interval (as a ratio) until its ends lie within `precision` of each other. `make_run` makes an open-loop
    run of a rate. A run breaks the bound too when less than `least_ok` of its requests were answered OK. A rate counts
    as too high when `tries` runs of it broke the bound: more than one forgives a noisy machine its chance stalls.
    """
    if not 0 < low <= high < math.inf or bound_ms <= 0 or precision <= 0 or tries < 1:
        raise ValueError(
            f"a sweep needs rates with 0 < low <= high and a bound above 0, not {low:g}, {high:g} and {bound_ms:g} ms"
        )
    points: list[Run] = []
    highest: Run | None = None
    rate, held, broken = low, 0.0, math.inf
    while True:
        for _ in range(tries):
            run = await make_run(rate)
            points.append(run)
            if run.ok_share >= least_ok and run.percentile(percentile) <= bound_ms:
                highest, held = run, rate
                break
        else:
            broken = rate
        if highest is None or held >= high or broken <= held * (1 + precision):
            return Sweep(bound_ms, percentile, tuple(points), highest, open_ended=broken == math.inf)
        rate = min(held * 2, high) if broken == math.inf else math.sqrt(held * broken)
