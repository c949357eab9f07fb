"""The formula of 'others also viewed', by hand and by what must hold of it whatever comes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_service.companions import SHRINKAGE, Companion, Decay, Shared, blended, companions_of

DECAY = Decay(first=100, last=129, half_life=7.0)


def test_a_view_counts_half_after_the_half_life() -> None:
    assert DECAY.weight(129) == 1.0
    assert DECAY.weight(122) == pytest.approx(0.5)
    assert DECAY.weight(115) == pytest.approx(0.25)
    assert [day for day, _ in DECAY.weights()] == list(range(100, 130))


def test_the_score_is_the_cosine_shrunk_by_few_sessions() -> None:
    # Four sessions looked at a; three of them at b, too, whom nine looked at in all.
    shared = Shared(weight=4.0, whole=4.0, together={"b": (3, 3.0)}, totals={"b": 9.0})
    [found] = companions_of(shared, limit=10)
    assert found.product_id == "b"
    assert found.score == pytest.approx(3 / (3 + SHRINKAGE) * 3 / math.sqrt(4 * 9))


def test_what_everybody_looks_at_does_not_come_first() -> None:
    # Everybody who looked at a looked at the bestseller, as everybody does; half of them at b, as nobody else.
    together = {"bestseller": (20, 20.0), "b": (10, 10.0)}
    shared = Shared(weight=20.0, whole=20.0, together=together, totals={"bestseller": 2000.0, "b": 11.0})
    assert [each.product_id for each in companions_of(shared, limit=10)] == ["b", "bestseller"]


def test_the_sessions_that_were_read_stand_for_the_rest() -> None:
    everything = Shared(weight=400.0, whole=400.0, together={"b": (100, 100.0)}, totals={"b": 225.0})
    a_quarter = Shared(weight=100.0, whole=400.0, together={"b": (100, 25.0)}, totals={"b": 225.0})
    assert companions_of(a_quarter, limit=1) == companions_of(everything, limit=1)


def test_nothing_comes_of_nothing() -> None:
    assert companions_of(Shared(0.0, 0.0), limit=10) == ()
    # Deleted between two reads.
    assert companions_of(Shared(1.0, 1.0, {"b": (2, 1.0)}, {}), limit=10) == ()


sessions = st.dictionaries(
    st.integers(0, 30),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(100, 129), min_size=1),
    max_size=30,
)


@given(sessions)
def test_scores_lie_between_0_and_1_and_are_the_same_both_ways(made: dict[int, dict[str, int]]) -> None:
    def shared(product: str) -> Shared:
        totals = {
            other: sum(DECAY.weight(seen[other]) for seen in made.values() if other in seen) for other in "abcdef"
        }
        mine = [seen for seen in made.values() if product in seen]
        together = {
            other: (
                sum(other in seen for seen in mine),
                sum(
                    math.sqrt(DECAY.weight(seen[product]) * DECAY.weight(seen[other])) for seen in mine if other in seen
                ),
            )
            for other in "abcdef"
            if other != product
        }
        return Shared(totals[product], totals[product], {k: v for k, v in together.items() if v[0]}, totals)

    scores = {
        (product, each.product_id): each.score
        for product in "abcdef"
        for each in companions_of(shared(product), limit=9)
    }
    assert all(0 < score < 1 for score in scores.values())
    assert all(score == pytest.approx(scores[other, product]) for (product, other), score in scores.items())


VIEWED = [Companion("a", 0.4), Companion("b", 0.1)]
SIMILAR = [Companion("c", 0.8), Companion("b", 0.6), Companion("d", 0.2), Companion("e", -0.1)]


def mixed(viewed: list[Companion], similar: list[Companion], *, share: float) -> list[tuple[str, float, bool]]:
    found = blended(viewed, similar, share=share)
    return [(each.product_id, round(each.score, 6), together) for each, together in found]


def test_lookalikes_fill_the_list_below_what_was_viewed() -> None:
    assert mixed(VIEWED, SIMILAR, share=0) == [
        ("a", 1.0, True),
        ("b", 0.25, True),
        ("c", 0.25, False),
        ("d", 0.0625, False),
        ("e", 0.0, False),
    ]
    assert mixed([], SIMILAR[:1], share=0) == [("c", 1.0, False)]
    assert mixed(VIEWED, [], share=0) == [("a", 1.0, True), ("b", 0.25, True)]


def test_a_mixture_weighs_both() -> None:
    assert mixed(VIEWED, SIMILAR, share=0.25) == [
        ("a", 0.75, True),
        ("b", 0.375, True),
        ("c", 0.25, False),
        ("d", 0.0625, False),
        ("e", 0.0, False),
    ]
    assert [id for id, _, _ in mixed(VIEWED, SIMILAR, share=1)] == ["c", "b", "d", "a", "e"]


ranked = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1, 1)).map(
    lambda scores: sorted((Companion(id, score) for id, score in scores.items()), key=lambda each: -each.score)
)


@given(ranked, ranked, st.floats(0, 1))
def test_every_product_comes_once_and_scores_fall(
    viewed: list[Companion], similar: list[Companion], share: float
) -> None:
    viewed = [each for each in viewed if each.score > 0]
    found = blended(viewed, similar, share=share)
    ids = [each.product_id for each, _ in found]
    assert sorted(ids) == sorted({each.product_id for each in (*viewed, *similar)})
    scores = [each.score for each, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
    assert {each.product_id for each, together in found if together} == {each.product_id for each in viewed}
