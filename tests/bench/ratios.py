"""Contenders side by side in one run: they take turns, every round relates its own readings, the median counts."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Reading", "best", "difference", "in_turns", "ratio"]

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rounds gave, in their order; at least one."""

    rounds: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest."""
        return min(self.rounds), max(self.rounds)


async def in_turns(
    contenders: Mapping[str, Callable[[], Awaitable[Outcome]]], *, rounds: int
) -> dict[str, list[Outcome]]:
    """Run every contender once a round.

    Whoever began a round ends the next one: a machine that slows down or speeds up does so for all alike.
    """
    order = list(contenders)
    found: dict[str, list[Outcome]] = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            found[name].append(await contenders[name]())
        order = [*order[1:], order[0]]
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Reading:
    """Ours over theirs, round by round. Raises ValueError when a round of theirs is zero: nothing was measured."""
    if not all(theirs):
        raise ValueError(f"a contender finished nothing in a round ({list(theirs)}); give the rounds more seconds")
    return Reading(tuple(mine / yours for mine, yours in zip(ours, theirs, strict=True)))


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Reading:
    """Ours less theirs, round by round."""
    return Reading(tuple(mine - yours for mine, yours in zip(ours, theirs, strict=True)))


def best(contenders: Mapping[str, Sequence[float]]) -> str:
    """Whose median is the greatest."""
    return max(contenders, key=lambda name: statistics.median(contenders[name]))
