"""Intervals that hold what they promise, and differences that are told from chance."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.evaluate.significance import Interval, intervals, photos_needed, sign_flip_p

some_values = st.lists(st.floats(-1, 1).map(lambda value: round(value, 6)), min_size=2, max_size=12)


def interval(values: list[float], clusters: list[object] | None = None) -> Interval:
    return intervals({"x": values}, clusters=clusters or range(len(values)), resamples=400)["x"]


def bounds(found: Interval) -> tuple[float, float]:
    assert found.low is not None and found.high is not None
    return found.low, found.high


@settings(max_examples=40, deadline=None)
@given(some_values)
def test_the_mean_lies_in_its_interval_and_that_among_the_values(values: list[float]) -> None:
    found = interval(values)
    low, high = bounds(found)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert min(values) - 1e-9 <= low <= found.mean <= high <= max(values) + 1e-9


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 300 samples of 40 photos, 95 % would be 285; a percentile bootstrap is a little narrow."""
    chance = random.Random(1)
    held = 0
    for seed in range(300):
        values = [float(chance.random() < 0.3) for _ in range(40)]
        low, high = bounds(intervals({"x": values}, clusters=range(40), resamples=300, seed=seed)["x"])
        held += low <= 0.3 <= high
    assert 270 <= held <= 295


def test_more_photos_narrow_it_and_more_queries_of_one_photo_do_not() -> None:
    values = [float(number % 3 == 0) for number in range(60)]
    few, many = bounds(interval(values[:15])), bounds(interval(values))
    # Each query four times, from its own photo: nothing was learned.
    repeated = bounds(
        interval([value for value in values[:15] for _ in range(4)], [n for n in range(15) for _ in "abcd"])
    )
    width = few[1] - few[0]
    assert many[1] - many[0] < 0.7 * width
    assert repeated[1] - repeated[0] == pytest.approx(width, rel=0.05)


def test_equal_values_have_no_width_and_one_photo_has_no_interval() -> None:
    assert (*bounds(interval([0.1] * 7)), interval([0.1] * 7).mean) == pytest.approx((0.1, 0.1, 0.1))
    assert interval([0.25, 0.75], ["a", "a"]) == Interval(0.5, None, None)
    assert Interval(0.5, None, None).to_json() == {"mean": 0.5, "low": None, "high": None}
    with pytest.raises(ValueError, match="there is no query"):
        intervals({"x": []}, clusters=[])


def test_the_same_seed_draws_the_same() -> None:
    values = [0.0, 1.0, 0.5, 0.25]
    assert interval(values) == interval(values)
    columns = intervals({"x": values, "y": [1 - value for value in values]}, clusters=range(4))
    # Columns share their draws, so that differences are paired.
    assert columns["x"].low == pytest.approx(1 - bounds(columns["y"])[1])


def test_all_signs_are_tried_for_few_photos() -> None:
    # All six differ the same way: only that and its mirror of 64 are as large.
    assert sign_flip_p([0.1] * 6, clusters=range(6)) == 2 / 64
    assert sign_flip_p([0.1] * 5, clusters=range(5)) == 2 / 32
    # 3 + 2 + 1, 3 + 2 - 1 and their mirrors of 8.
    assert sign_flip_p([3, 2, -1], clusters="abc") == 4 / 8
    assert sign_flip_p([0.0, 0.0], clusters="ab") == 1 and sign_flip_p([], clusters=[]) == 1
    assert sign_flip_p([0.1] * 6, clusters="aaaaaa") == 1


def test_chance_finds_nothing_as_often_as_it_says() -> None:
    chance = random.Random(2)
    found = [
        sign_flip_p([chance.gauss(0, 1) for _ in range(20)], clusters=range(20), flips=200, seed=seed) < 0.05
        for seed in range(300)
    ]
    assert 3 <= sum(found) <= 30
    shifted = [chance.gauss(0.8, 1) for _ in range(40)]
    assert sign_flip_p(shifted, clusters=range(40)) < 0.01


def test_how_many_photos_it_would_take() -> None:
    differences = [0.3, -0.1, 0.2, 0.0]
    expected = ((1.960 + 0.842) * statistics.stdev(differences) / 0.1) ** 2
    assert photos_needed(differences, clusters=range(4)) == pytest.approx(expected, abs=1)
    assert photos_needed([0.1] * 9, clusters=range(9)) == 6
    assert photos_needed([0.1, -0.1], clusters="ab") is None and photos_needed([0.1], clusters="a") is None
