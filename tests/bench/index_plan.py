"""What make bench-index does with the minutes that it has: sizes of catalogs, rounds, and when the largest shrinks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.servers import say

__all__ = ["FALLBACK", "Plan", "affordable", "sizes"]

FALLBACK: Final = 300_000
# What is measured once the largest catalog is there: cells, turns, upserts.
MEASURING_RUNS: Final = 50
# An index of n rows takes n log n, and merging segments builds parts of it twice.
GROWTH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: sizes, how many rounds of how many seconds, and the minutes in which all of it must be done.

    `pairs` are the queries in a round of the adapter and bare pymilvus in turns.
    """

    sizes: tuple[int, ...]
    rounds: int
    seconds: float
    minutes: float
    began: float
    pairs: int = 200


def affordable(wanted: int, plan: Plan, fillings: Sequence[tuple[int, float]]) -> tuple[int, str]:
    """As many rows as there is time for, and a sentence where these are not those that were wanted.

    `fillings` are the rows of the catalogs that there are, and the seconds until they were written and indexed.
    """
    if wanted <= FALLBACK or not fillings:
        return wanted, ""
    rows, seconds = fillings[-1]
    predicted = GROWTH * seconds * wanted / rows + MEASURING_RUNS * plan.seconds
    left = 60 * plan.minutes - (time.monotonic() - plan.began)
    if predicted <= left:
        return wanted, ""
    note = (
        f"The largest catalog has {FALLBACK:,} vectors instead of {wanted:,}: going by {rows:,} in {seconds:.0f} s, "
        f"those would have taken {predicted / 60:.0f} minutes, and {left / 60:.0f} of {plan.minutes:g} were left."
    )
    say(note)
    return FALLBACK, note


def sizes(text: str) -> tuple[int, ...]:
    """Ascending numbers, at least 2,000 each. Raises ArgumentTypeError."""
    try:
        found = tuple(int(each) for each in text.replace("_", "").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, as in 10000,100000") from None
    if sorted(set(found)) != list(found) or found[0] < 2000:
        raise argparse.ArgumentTypeError("sizes ascend, and the least is 2,000 (fewer rows get no index)")
    return found
