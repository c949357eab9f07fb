"""The figures of a ranking: cases computed by hand, and what must hold for every ranking."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.evaluate.metrics import (
    average_precision,
    figures_of,
    hit_at,
    is_answerable,
    judged_at,
    mean_name,
    ndcg_at,
    precision_at,
    recall_at,
    reciprocal_rank,
)

IDS = [f"sku-{number}" for number in range(12)]
GRADES = {"a": 3, "b": 2, "c": 1, "d": 0}

# A busy machine makes single examples slow.
at_leisure = settings(deadline=None)
some_grades = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1).filter(is_answerable)
some_ranking = st.permutations(IDS).flatmap(lambda ids: st.integers(0, len(ids)).map(lambda size: ids[:size]))
some_k = st.integers(1, 15)


# By hand


def test_a_ranking_computed_by_hand() -> None:
    ranking = ["x", "b", "d", "a"]
    assert precision_at(ranking, GRADES, 2) == 1 / 2 and precision_at(ranking, GRADES, 4) == 2 / 4
    assert precision_at(ranking, GRADES, 10) == 2 / 10
    assert recall_at(ranking, GRADES, 2) == 1 / 3 and recall_at(ranking, GRADES, 10) == 2 / 3
    assert hit_at(ranking, GRADES, 1) == 0 and hit_at(ranking, GRADES, 2) == 1
    assert reciprocal_rank(ranking, GRADES) == 1 / 2
    # Relevant at ranks 2 and 4; the third relevant one is never found.
    assert average_precision(ranking, GRADES) == pytest.approx((1 / 2 + 2 / 4) / 3)
    gained, best = 2 / log2(3) + 3 / log2(5), 3 / log2(2) + 2 / log2(3) + 1 / log2(4)
    assert ndcg_at(ranking, GRADES, 10) == pytest.approx(gained / best)
    assert ndcg_at(ranking, GRADES, 2) == pytest.approx((2 / log2(3)) / (3 + 2 / log2(3)))
    assert judged_at(ranking, GRADES, 4) == 3 / 4


def test_the_textbook_example_of_ndcg() -> None:
    """Grades 3, 2, 3, 0, 1, 2 were found, and 3 and 2 were not: DCG 6.861 of 8.740 (Wikipedia, "Discounted cumulative
    gain")."""
    ranking = [str(place) for place in range(6)]
    grades = {**dict(zip(ranking, [3, 2, 3, 0, 1, 2], strict=True)), "x": 3, "y": 2}
    assert ndcg_at(ranking, grades, 6) == pytest.approx(6.861 / 8.740, abs=1e-4)
    assert ndcg_at(ranking, grades, 6) == pytest.approx(0.785, abs=5e-4)


def test_the_bound_of_relevance_moves_all_but_the_graded_figure() -> None:
    ranking = ["c", "a", "b"]
    strict = figures_of(ranking, GRADES, ks=[2], relevant=2)
    assert (strict["precision@2"], strict["recall@2"], strict["RR"]) == (1 / 2, 1 / 2, 1 / 2)
    assert strict["AP"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert strict["nDCG@2"] == figures_of(ranking, GRADES, ks=[2])["nDCG@2"]


def test_nothing_found_is_zero() -> None:
    figures = figures_of([], GRADES, ks=[1, 10])
    assert figures.pop("judged@1") == figures.pop("judged@10") == 1
    assert set(figures.values()) == {0.0}


def test_without_a_relevant_id_there_is_no_recall() -> None:
    nothing = {"a": 0}
    assert not is_answerable(nothing) and not is_answerable({}) and not is_answerable({"a": 1}, relevant=2)
    for undefined in (
        lambda: recall_at(["a"], nothing, 1),
        lambda: average_precision(["a"], nothing),
        lambda: ndcg_at(["a"], nothing, 1),
        lambda: figures_of(["a"], {"a": 1}, relevant=2),
    ):
        with pytest.raises(ValueError, match="not defined"):
            undefined()


def test_what_is_no_ranking_is_refused() -> None:
    with pytest.raises(ValueError, match="an id comes twice"):
        figures_of(["a", "a"], GRADES)
    for wrong in ({"ks": [0]}, {"relevant": 0}):
        with pytest.raises(ValueError, match="are 1 or more"):
            figures_of(["a"], GRADES, **wrong)


def test_means_have_their_names() -> None:
    assert [mean_name(name) for name in ("AP", "RR", "nDCG@10")] == ["mAP", "MRR", "nDCG@10"]


# For every ranking


@at_leisure
@given(some_ranking, some_grades, some_k)
def test_every_figure_lies_between_nothing_and_all(ranking: list[str], grades: dict[str, int], k: int) -> None:
    assert all(0 <= value <= 1 + 1e-12 for value in figures_of(ranking, grades, ks=[k]).values())


@at_leisure
@given(some_grades)
def test_the_best_ranking_is_perfect(grades: dict[str, int]) -> None:
    best = sorted(grades, key=lambda id: -grades[id])
    wanted = sum(grade > 0 for grade in grades.values())
    figures = figures_of(best, grades, ks=[wanted, len(best)])
    for name in ("AP", "RR", f"precision@{wanted}", f"recall@{wanted}", f"nDCG@{wanted}", f"nDCG@{len(best)}"):
        assert figures[name] == pytest.approx(1)


@at_leisure
@given(some_ranking.filter(lambda ids: len(ids) > 1), some_grades, some_k, st.data())
def test_a_better_id_further_up_never_hurts(
    ranking: list[str], grades: dict[str, int], k: int, data: st.DataObject
) -> None:
    upper = data.draw(st.integers(0, len(ranking) - 2))
    lower = data.draw(st.integers(upper + 1, len(ranking) - 1))
    better = list(ranking)
    if grades.get(ranking[lower], 0) > grades.get(ranking[upper], 0):
        better[upper], better[lower] = ranking[lower], ranking[upper]
    before, after = figures_of(ranking, grades, ks=[k]), figures_of(better, grades, ks=[k])
    # What is judged says nothing of good and bad.
    assert all(after[name] >= before[name] - 1e-12 for name in before if not name.startswith("judged"))


@at_leisure
@given(some_ranking, some_grades, some_k)
def test_figures_of_one_ranking_agree(ranking: list[str], grades: dict[str, int], k: int) -> None:
    figures = figures_of(ranking, grades, ks=[k, k + 1])
    wanted = sum(grade > 0 for grade in grades.values())
    assert figures[f"precision@{k}"] * k == pytest.approx(figures[f"recall@{k}"] * wanted)
    assert figures[f"hit rate@{k}"] == float(figures[f"precision@{k}"] > 0) == float(1 / k <= figures["RR"])
    assert figures[f"recall@{k}"] <= figures[f"recall@{k + 1}"]
    # AP is also the recall-weighted mean of precision: the change of recall at each rank times precision there.
    steps = [
        (recall_at(ranking, grades, rank) - (recall_at(ranking, grades, rank - 1) if rank > 1 else 0))
        * precision_at(ranking, grades, rank)
        for rank in range(1, len(ranking) + 1)
    ]
    assert figures["AP"] == pytest.approx(sum(steps))


@at_leisure
@given(some_ranking, some_grades, some_k)
def test_what_nobody_judged_counts_as_not_relevant(ranking: list[str], grades: dict[str, int], k: int) -> None:
    judged_bad = {**dict.fromkeys(IDS, 0), **grades}
    before, after = figures_of(ranking, grades, ks=[k]), figures_of(ranking, judged_bad, ks=[k])
    assert after.pop(f"judged@{k}") == 1 and before.pop(f"judged@{k}") <= 1
    assert after == before


@at_leisure
@given(some_ranking, some_grades, some_k)
def test_what_follows_changes_nothing_before_it(ranking: list[str], grades: dict[str, int], k: int) -> None:
    longer = [*ranking, "nobody", "knows"]
    before, after = figures_of(ranking, grades, ks=[k]), figures_of(longer, grades, ks=[k])
    assert {**after, f"judged@{k}": 0} == {**before, f"judged@{k}": 0}


@at_leisure
@given(some_ranking, some_grades, some_k, st.integers(2, 9))
def test_the_unit_of_grades_does_not_matter(ranking: list[str], grades: dict[str, int], k: int, factor: int) -> None:
    scaled = {id: factor * grade for id, grade in grades.items()}
    assert ndcg_at(ranking, scaled, k) == pytest.approx(ndcg_at(ranking, grades, k))
