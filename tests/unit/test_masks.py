"""Masks as runs and outlines give back the cells that they came from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_service.masks import outlines, runs
from lookalike_service.model import Box

WHOLE = Box(0, 0, 1, 1)
masks = st.integers(1, 7).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=7)
)


def as_mask(cells: list[list[bool]]) -> npt.NDArray[np.uint8]:
    return np.where(np.array(cells), 255, 0).astype(np.uint8)


@given(masks)
def test_runs_rebuild_the_mask(cells: list[list[bool]]) -> None:
    lengths = runs(as_mask(cells))
    rebuilt = [bool(number % 2) for number, length in enumerate(lengths) for _ in range(length)]
    assert rebuilt == [cell for row in cells for cell in row]


@given(masks)
def test_outlines_hold_the_middle_of_every_covered_cell(cells: list[list[bool]]) -> None:
    height, width = len(cells), len(cells[0])
    rings = outlines(as_mask(cells), WHOLE)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            assert inside(rings, (x + 0.5) / width, (y + 0.5) / height) == cell


def inside(rings: list[list[tuple[float, float]]], x: float, y: float) -> bool:
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                crossings += 1
    return crossings % 2 == 1


def test_outlines_lie_on_the_box_and_stay_on_the_photo() -> None:
    [ring] = outlines(np.full((4, 4), 255, np.uint8), Box(-0.25, 0.5, 0.25, 1.25))
    assert {point for corner in ring for point in corner} <= {value / 32 for value in range(33)}
    assert all(0 <= x <= 0.25 and 0.5 <= y <= 1 for x, y in ring)


@pytest.mark.parametrize("value", [0, 127])
def test_an_empty_mask(value: int) -> None:
    mask = np.full((3, 5), value, np.uint8)
    assert runs(mask) == [15]
    assert outlines(mask, WHOLE) == []
