"""Which queries a report shows: the worst, and where two versions differ most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lookalike.evaluate.outcome import Evaluation, Judged

__all__ = ["Chapter", "chapters"]

# Differences smaller than this are nothing to look at.
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Chapter:
    """Queries under a heading, the most telling first."""

    title: str
    queries: tuple[Judged, ...]


def chapters(evaluation: Evaluation, *, most: int) -> list[Chapter]:
    """The worst queries of one version; of two, where the one beats the other by most, and the worst of both.

    `most` bounds each chapter; chapters without a query are left out.
    """
    name = evaluation.headline

    def of(place: int) -> Callable[[Judged], float]:
        return lambda each: each.figures[place][name]

    first, *others = (of(place) for place in range(len(evaluation.versions)))
    if not others:
        worst = Chapter(f"The worst queries by {name}", _first(evaluation.queries, first, most=most, below=1.0))
        return [worst] if worst.queries else []
    [second] = others
    old, new = evaluation.versions
    made = [
        Chapter(
            f"Where version {old} is better than version {new}",
            _first(evaluation.queries, lambda each: second(each) - first(each), most=most, below=-LEAST),
        ),
        Chapter(
            f"Where version {new} is better than version {old}",
            _first(evaluation.queries, lambda each: first(each) - second(each), most=most, below=-LEAST),
        ),
        Chapter(
            "The worst queries of both",
            _first(evaluation.queries, lambda each: max(first(each), second(each)), most=most, below=1.0),
        ),
    ]
    return [chapter for chapter in made if chapter.queries]


def _first(queries: Sequence[Judged], key: Callable[[Judged], float], *, most: int, below: float) -> tuple[Judged, ...]:
    # Among equals, those with more to find are the worse ones.
    ordered = sorted(queries, key=lambda each: (key(each), -sum(each.query.grades.values())))
    return tuple(each for each in ordered[:most] if key(each) < below)
