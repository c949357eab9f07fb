"""An evaluation as JSON, with everything that its figures were computed from."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.evaluate.outcome import Comparison, Evaluation, Judged
from lookalike.evaluate.significance import Interval

__all__ = ["to_json"]


def to_json(evaluation: Evaluation) -> dict[str, object]:
    """Means, comparison, notes, and per query grades, rankings and figures."""
    return {
        "queries": len(evaluation.queries),
        "photos": evaluation.photos,
        "unanswerable_queries": evaluation.unanswerable,
        "versions": [
            {"embedding_version": version, "means": _intervals(means)}
            for version, means in zip(evaluation.versions, evaluation.means, strict=True)
        ],
        "comparison": _comparison(evaluation.comparison, evaluation) if evaluation.comparison else None,
        "notes": evaluation.notes(),
        "per_query": [_query(each, evaluation) for each in evaluation.queries],
    }


def _comparison(comparison: Comparison, evaluation: Evaluation) -> dict[str, object]:
    return {
        "differences": _intervals(comparison.differences),
        "headline": evaluation.headline,
        "p": comparison.p,
        "photos_needed": comparison.needed,
        "verdict": evaluation.verdict(),
    }


def _query(judged: Judged, evaluation: Evaluation) -> dict[str, object]:
    query = judged.query
    return {
        "line": query.line,
        "photo": query.photo,
        "query_product": query.product,
        "category": query.category,
        "region": list(query.region) if query.region else None,
        "grades": dict(query.grades),
        "versions": [
            {
                "embedding_version": version,
                "garment_found": not answer.missed,
                "box": list(answer.box) if answer.box else None,
                "figures": figures,
                "ranking": list(answer.ranking),
            }
            for version, answer, figures in zip(evaluation.versions, judged.answers, judged.figures, strict=True)
        ],
    }


def _intervals(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: interval.to_json() for name, interval in intervals.items()}
