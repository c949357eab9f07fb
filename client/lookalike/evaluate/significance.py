"""How far a mean over queries can be trusted, and whether two versions differ by more than chance.

Queries of one photo go wrong together, so that photos, not queries, are what is drawn: every function takes `clusters`,
which says for each value to which photo it belongs. Everything follows from a seed.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter, mul
from typing import TypeVar

__all__ = ["Interval", "intervals", "photos_needed", "sign_flip_p"]

Name = TypeVar("Name", bound=Hashable)

RESAMPLES = 2_000
FLIPS = 10_000
# Up to so many differences all 2^n signs are tried.
ALL_SIGNS = 12
# Normal quantiles of 97.5 % (two-sided 5 %) and of 80 % (power).
SURE, POWER = 1.960, 0.842


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; `low` and `high` are None where one photo alone says nothing of others."""

    mean: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """As JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def intervals(
    columns: Mapping[Name, Sequence[float]],
    *,
    clusters: Sequence[Hashable],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Name, Interval]:
    """The mean of every column with its percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    A resample draws as many photos as there are, with replacement; the interval holds the middle 95 % of the means. It
    is a little narrow for fewer than about 20 photos. Columns have one value per query and share the draws, so a column
    of differences is a paired comparison. Raises ValueError without values.
    """
    sizes = [float(size) for size in _sums([1.0] * len(clusters), clusters)]
    if not sizes:
        raise ValueError("there is no query to take a mean of")
    sums = {name: _sums(values, clusters) for name, values in columns.items()}
    means = {name: math.fsum(values) / len(clusters) for name, values in columns.items()}
    if len(sizes) == 1:
        return {name: Interval(mean, None, None) for name, mean in means.items()}
    chance = random.Random(seed)
    places = range(len(sizes))
    drawn: dict[Name, list[float]] = {name: [] for name in columns}
    for _ in range(resamples):
        pick = itemgetter(*chance.choices(places, k=len(sizes)))
        count = sum(pick(sizes))
        for name, values in sums.items():
            drawn[name].append(sum(pick(values)) / count)
    outside = int(resamples * 0.025)
    found = {}
    for name, samples in drawn.items():
        samples.sort()
        # Sums in another order differ in the last digit; the mean of equal values shall lie in its interval.
        low, high = min(samples[outside], means[name]), max(samples[-1 - outside], means[name])
        found[name] = Interval(means[name], low, high)
    return found


def sign_flip_p(
    differences: Sequence[float], *, clusters: Sequence[Hashable], flips: int = FLIPS, seed: int = 0
) -> float:
    """How often chance alone makes a mean difference as large as this one, 0..1 (two-sided).

    Fisher's randomization test, which Smucker, Allan and Carterette recommend for comparing rankings (CIKM 2007): if
    both versions were alike, each photo's difference might as well have had the other sign. Exact for up to 12 photos
    that differ; with fewer than 6 of them it cannot fall below 0.05, however large they are.
    """
    sums = [value for value in _sums(differences, clusters) if value]
    if not sums:
        return 1.0
    least = abs(math.fsum(sums)) * (1 - 1e-9)
    if len(sums) <= ALL_SIGNS:
        every = list(product((-1.0, 1.0), repeat=len(sums)))
        return _as_large(sums, every, least) / len(every)
    chance = random.Random(seed)
    drawn = (chance.choices((-1.0, 1.0), k=len(sums)) for _ in range(flips))
    return (_as_large(sums, drawn, least) + 1) / (flips + 1)


def _as_large(values: Sequence[float], every: Iterable[Sequence[float]], least: float) -> int:
    """How many of the signs make the sum of the values at least so large."""
    return sum(abs(sum(map(mul, values, signs))) >= least for signs in every)


def photos_needed(differences: Sequence[float], *, clusters: Sequence[Hashable]) -> int | None:
    """About how many photos would show a mean difference of this size four times in five; None where it is nothing.

    The usual sum of a paired comparison, ((1.960 + 0.842) * standard deviation / mean)^2: a rule of thumb.
    """
    sums = _sums(differences, clusters)
    mean = math.fsum(sums) / len(sums) if sums else 0.0
    if len(sums) < 2 or abs(mean) < 1e-9:
        return None
    return max(math.ceil(((SURE + POWER) * statistics.stdev(sums) / mean) ** 2), 6)


def _sums(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """Per cluster the sum of its values, in the order in which clusters first come."""
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
    return list(sums.values())
