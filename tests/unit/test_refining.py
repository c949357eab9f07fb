"""Boxes drawn to masks, and scores weighed with what the later stages saw."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike_service.model import Box, Garment, Source
from lookalike_service.refining import boxes_around_masks, weighed_score, without_doubles

CROP = Box(0.2, 0.1, 0.8, 0.7)  # a mask cell is 0.01 of the photo


Cells = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def mask(*, x: slice, y: slice, level: int = 255) -> Cells:
    cells = np.zeros((60, 60), np.uint8)
    cells[y, x] = level
    return cells


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def box_around_mask(mask: Cells, *, crop_box: Box, detected: Box) -> tuple[Box, float]:
    """One of several, beside an empty one."""
    masks = np.stack((np.zeros_like(mask), mask))
    crops, found = np.array([CROP, crop_box], np.float32), np.array([CROP, detected], np.float32)
    boxes, certainty = boxes_around_masks(masks, crop_boxes=crops, detected=found)
    assert boxes[0] == pytest.approx(CROP) and certainty[0] == 0
    return Box(*boxes[1].tolist()), float(certainty[1])


def test_the_box_closes_around_the_mask() -> None:
    box, certainty = box_around_mask(
        mask(x=slice(10, 40), y=slice(5, 55)), crop_box=CROP, detected=Box(0.25, 0.12, 0.75, 0.68)
    )
    assert corners(box) == pytest.approx((0.3, 0.15, 0.6, 0.65))
    assert certainty == pytest.approx(1.0)


def test_a_neighbour_far_outside_the_detection_is_left_aside() -> None:
    cells = mask(x=slice(10, 30), y=slice(10, 30)) | mask(x=slice(50, 60), y=slice(10, 30))
    box, _ = box_around_mask(cells, crop_box=CROP, detected=Box(0.3, 0.2, 0.5, 0.4))
    assert corners(box) == pytest.approx((0.3, 0.2, 0.5, 0.4))


def test_an_empty_mask_leaves_the_detected_box_and_no_certainty() -> None:
    detected = Box(0.3, 0.2, 0.5, 0.4)
    box, certainty = box_around_mask(np.zeros((56, 56), np.uint8), crop_box=CROP, detected=detected)
    assert corners(box) == pytest.approx(detected) and certainty == 0.0


def test_haze_is_no_garment_and_a_faint_mask_is_less_certain() -> None:
    detected = Box(0.3, 0.2, 0.5, 0.4)
    haze = mask(x=slice(0, 60), y=slice(0, 60), level=60)
    assert box_around_mask(haze, crop_box=CROP, detected=detected)[1] == 0.0
    faint = mask(x=slice(10, 30), y=slice(10, 30), level=153)
    assert box_around_mask(faint, crop_box=CROP, detected=detected)[1] == pytest.approx(0.6)


def test_a_box_stays_on_the_photo_though_its_crop_does_not() -> None:
    box, _ = box_around_mask(
        np.full((56, 56), 255, np.uint8), crop_box=Box(-0.1, -0.1, 1.1, 1.1), detected=Box(0.0, 0.0, 1.0, 1.0)
    )
    assert corners(box) == (0.0, 0.0, 1.0, 1.0)


def test_scores_fall_with_doubt_and_never_to_nothing() -> None:
    sure = weighed_score(0.8, certainty=1.0, agreement=1.0)
    assert sure == pytest.approx(0.8)
    assert weighed_score(0.8, certainty=0.9, agreement=1.0) < sure
    assert 0 < weighed_score(0.8, certainty=0.0, agreement=0.0) < weighed_score(0.8, certainty=0.9, agreement=0.2)
    assert weighed_score(0.8, certainty=1.0, agreement=None) == pytest.approx(0.8)


def detection(name: str, box: Box) -> Garment:
    return Garment(
        box, box, 0.5, Source.DETECTED, name, (), (), (), (), np.zeros((8, 3), np.float32),
        np.zeros((56, 56), np.uint8), np.zeros(4, np.float32), detected=name,
    )  # fmt: skip


def test_a_double_goes_and_what_lies_apart_or_is_another_class_stays() -> None:
    surest = detection("dress", Box(0.2, 0.2, 0.6, 0.8))
    double = detection("dress", Box(0.22, 0.2, 0.6, 0.82))
    apart = detection("dress", Box(0.7, 0.2, 0.9, 0.8))
    belt = detection("belt", Box(0.2, 0.2, 0.6, 0.8))
    assert without_doubles([surest, double, apart, belt]) == [surest, apart, belt]
