"""How good a ranking is, by the grades that people gave: no input, no output, nothing of a search engine.

The conventions are those of trec_eval (https://github.com/usnistgov/trec_eval) and of ir-measures, which names the same
figures P@k, R@k, AP, nDCG@k, RR, Success@k and Judged@k: what nobody judged counts as not relevant, and recall and
average precision divide by all relevant ids, also those that no ranking of k could hold. One convention differs:
trec_eval orders by score and breaks ties by name, while here a ranking is in the order in which it was given.

Everywhere below `ranking` is a sequence of ids, best first, each once; `grades` are whole numbers of 0 or more by id,
an id of grade `relevant` or more being relevant; `k` is 1 or more. Every figure lies in 0..1, and higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "average_precision",
    "figures_of",
    "hit_at",
    "is_answerable",
    "judged_at",
    "mean_name",
    "ndcg_at",
    "precision_at",
    "recall_at",
    "reciprocal_rank",
]

Grades = Mapping[str, int]

# A mean over queries has a name of its own where a single query's figure has one.
MEANS = {"AP": "mAP", "RR": "MRR"}


def precision_at(ranking: Sequence[str], grades: Grades, k: int, *, relevant: int = 1) -> float:
    """Share of relevant ids among the first k (P@k); what a short ranking lacks counts as not relevant."""
    return sum(_relevances(ranking[:k], grades, relevant=relevant)) / k


def recall_at(ranking: Sequence[str], grades: Grades, k: int, *, relevant: int = 1) -> float:
    """Share of all relevant ids that are among the first k (R@k). Raises ValueError when none is relevant."""
    return sum(_relevances(ranking[:k], grades, relevant=relevant)) / _wanted(grades, relevant=relevant)


def hit_at(ranking: Sequence[str], grades: Grades, k: int, *, relevant: int = 1) -> float:
    """1 when at least one of the first k is relevant, else 0 (Success@k; its mean is the hit rate)."""
    return float(any(_relevances(ranking[:k], grades, relevant=relevant)))


def judged_at(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Share of the first k that somebody judged, with whatever grade (Judged@k); of no ids at all, 1.

    Not a figure of merit: a low one says that the other figures may be too low, since what nobody judged counts as
    not relevant, and that rankings which differ in it can hardly be compared.
    """
    first = ranking[:k]
    return sum(each in grades for each in first) / len(first) if first else 1.0


def reciprocal_rank(ranking: Sequence[str], grades: Grades, *, relevant: int = 1) -> float:
    """1 divided by the rank of the first relevant id, 0 when there is none (RR; its mean is MRR)."""
    for rank, good in enumerate(_relevances(ranking, grades, relevant=relevant), start=1):
        if good:
            return 1 / rank
    return 0.0


def average_precision(ranking: Sequence[str], grades: Grades, *, relevant: int = 1) -> float:
    """Sum of P@rank over the ranks of relevant ids, divided by the number of all relevant ids (AP; its mean is mAP).

    A relevant id that the ranking lacks adds 0, so a ranking that was cut off has at most its share. (Some benchmarks
    divide by min(k, relevant ids) instead.) Raises ValueError when no id is relevant.
    """
    found, total = 0, 0.0
    for rank, good in enumerate(_relevances(ranking, grades, relevant=relevant), start=1):
        if good:
            found += 1
            total += found / rank
    return total / _wanted(grades, relevant=relevant)


def ndcg_at(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Discounted cumulative gain of the first k, divided by that of the best possible ranking (nDCG@k).

    DCG@k is the sum over ranks i = 1..k of grade(i) / log2(i + 1), as in Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques" (ACM TOIS 20(4), 2002) with the discount that trec_eval and ir-measures use. The gain
    is the grade itself; 2^grade - 1 (Burges et al., 2005) would need grades of 1, 3, 7 instead. Raises ValueError when
    every grade is 0.
    """
    best = _discounted(sorted(grades.values(), reverse=True)[:k])
    if not best:
        raise ValueError("nDCG is not defined for a query whose grades are all 0")
    return _discounted([grades.get(each, 0) for each in ranking[:k]]) / best


def is_answerable(grades: Grades, *, relevant: int = 1) -> bool:
    """Whether any id is relevant; otherwise recall, AP and nDCG are not defined."""
    return any(grade >= relevant for grade in grades.values())


def figures_of(
    ranking: Sequence[str], grades: Grades, *, ks: Iterable[int] = (10,), relevant: int = 1
) -> dict[str, float]:
    """Every figure of this module by its name, such as `nDCG@10`, for each k; AP and RR over the whole ranking.

    Raises ValueError when no id is relevant, when an id comes twice, and for a k or a bound of relevance below 1.
    """
    ks = list(ks)
    if relevant < 1 or any(k < 1 for k in ks):
        raise ValueError("k and the grade from which an id is relevant are 1 or more")
    if len(set(ranking)) != len(ranking):
        raise ValueError("an id comes twice in the ranking")
    figures: dict[str, float] = {}
    for k in ks:
        figures[f"nDCG@{k}"] = ndcg_at(ranking, grades, k)
        figures[f"precision@{k}"] = precision_at(ranking, grades, k, relevant=relevant)
        figures[f"recall@{k}"] = recall_at(ranking, grades, k, relevant=relevant)
        figures[f"hit rate@{k}"] = hit_at(ranking, grades, k, relevant=relevant)
        figures[f"judged@{k}"] = judged_at(ranking, grades, k)
    figures["AP"] = average_precision(ranking, grades, relevant=relevant)
    figures["RR"] = reciprocal_rank(ranking, grades, relevant=relevant)
    return figures


def mean_name(figure: str) -> str:
    """What the mean of a figure over queries is called: `mAP` for `AP`."""
    return MEANS.get(figure, figure)


def _relevances(ranking: Sequence[str], grades: Grades, *, relevant: int) -> Iterable[bool]:
    return (grades.get(each, 0) >= relevant for each in ranking)


def _wanted(grades: Grades, *, relevant: int) -> int:
    wanted = sum(grade >= relevant for grade in grades.values())
    if not wanted:
        raise ValueError("recall is not defined for a query without a relevant id")
    return wanted


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
