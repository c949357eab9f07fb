"""How much two products belong together, by the sessions that looked at both: the formula, and nothing else.

A session s counts for a product a by how long ago it last looked at a, in whole days, halved every `half_life` days:

    w(s, a) = 2 ** (-age / half_life)

The products are vectors over the sessions, with the root of w as their entries, and belong together by their cosine,

    cosine(a, b) = sum over s of sqrt(w(s, a) * w(s, b))  /  sqrt(W(a) * W(b)),    W(a) = sum over s of w(s, a)

which divides by the root of how often b is looked at anyway, so that what everybody looks at does not come first
everywhere. Few sessions prove little, so the cosine shrinks with the number n of sessions that looked at both:

    score(a, b) = n / (n + SHRINKAGE) * cosine(a, b)

The cosine of items over users is that of Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering
recommendation algorithms" (WWW 2001, section 3.1.1), and of Linden, Smith and York, "Amazon.com recommendations:
item-to-item collaborative filtering" (IEEE Internet Computing 7(1), 2003), whose ratings are views here; the shrinkage
is equation (2) of Koren, "Factorization meets the neighborhood" (KDD 2008).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["SHRINKAGE", "Companion", "Decay", "Shared", "blended", "companions_of"]

# Two sessions keep 0.4 of the cosine, ten 0.77. Koren's 100 is for ratings, which come by the thousand.
SHRINKAGE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Decay:
    """The window of days that count, `first` to `last`, and how fast they fade."""

    first: int
    last: int
    half_life: float

    def weights(self) -> list[tuple[int, float]]:
        """Each day of the window with its w, 0..1."""
        return [(day, self.weight(day)) for day in range(self.first, self.last + 1)]

    def weight(self, day: int) -> float:
        """w of a session that last looked on this day."""
        return math.exp2(-(self.last - day) / self.half_life)


@dataclass(frozen=True, slots=True)
class Shared:
    """What was counted for a product: per other product the sessions that looked at both, n and the sum of roots.

    `weight` is the sum of w over the product's sessions that were read, `whole` over all that it has, and `totals` W
    of the others.
    """

    weight: float
    whole: float
    together: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Companion:
    """A product that was looked at together with another, and how much they belong together, 0..1."""

    product_id: str
    score: float


def companions_of(shared: Shared, *, limit: int) -> tuple[Companion, ...]:
    """The products that belong to it most, best first.

    Of a product with more sessions than were read, those that were stand for the rest.
    """
    if not shared.weight:
        return ()
    scored = []
    for product_id, (sessions, roots) in shared.together.items():
        total = shared.totals.get(product_id, 0.0)
        if total <= 0:
            continue
        cosine = roots * (shared.whole / shared.weight) / math.sqrt(shared.whole * total)
        scored.append(Companion(product_id, sessions / (sessions + SHRINKAGE) * min(1.0, cosine)))
    scored.sort(key=lambda each: (-each.score, each.product_id))
    return tuple(scored[:limit])


def blended(viewed: Sequence[Companion], similar: Sequence[Companion], *, share: float) -> list[tuple[Companion, bool]]:
    """One list of both, best first, each product once and with whether it was viewed together.

    Both come best first, and each score is divided by the best of its kind. With a `share` of 0 all that were viewed
    come first, and lookalikes go on below the last of them; else a product counts (1 - share) * views + share * looks.
    """
    views = _relative(viewed)
    looks = _relative(similar)
    if share == 0:
        least = min(views.values(), default=1.0)
        scores = {**{each: least * score for each, score in looks.items()}, **views}
        order = [*views, *(each for each in looks if each not in views)]
    else:
        scores = {
            each: (1 - share) * views.get(each, 0.0) + share * looks.get(each, 0.0)
            for each in dict.fromkeys([*views, *looks])
        }
        order = sorted(scores, key=lambda each: (-scores[each], each))
    return [(Companion(each, scores[each]), each in views) for each in order]


def _relative(ranked: Sequence[Companion]) -> dict[str, float]:
    best = max((each.score for each in ranked), default=0.0)
    return {each.product_id: max(0.0, each.score) / best if best > 0 else 0.0 for each in ranked}
