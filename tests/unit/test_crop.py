"""The crop step: which garments are chosen, and that every crop is exactly what its box says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from support_glue import load_glue

cropping = load_glue("crop", "cropping")
decoding = load_glue("decode", "decoding")

DEFAULTS = {"default_min_score": 0.3, "default_max_garments": 8}


Chosen = Any  # a class of a module that is loaded by its path


def options(min_score: float = 0.0, max_garments: float = 0.0) -> Chosen:
    return cropping.Options.read(np.array([min_score, max_garments], np.float32), **DEFAULTS)


def rows(*found: tuple[tuple[float, ...], float, int]) -> tuple[npt.NDArray[np.generic], ...]:
    """The detector's sixteen rows, the rest unused."""
    boxes, scores, classes = np.zeros((16, 4), np.float32), np.zeros(16, np.float32), np.zeros(16, np.int32)
    for row, (box, score, kind) in enumerate(found):
        boxes[row], scores[row], classes[row] = box, score, kind
    return boxes, scores, classes


def choose(*found: tuple[tuple[float, ...], float, int], frame: tuple[float, ...], **wanted: float) -> Chosen:
    boxes, scores, classes = rows(*found)
    return cropping.detected(boxes, scores, classes, frame=np.array(frame, np.float32), options=options(**wanted))


SQUARE = (1.0, 0.0, 0.0, 320.0, 320.0)
BOX = (32.0, 64.0, 96.0, 160.0)


def test_options_zero_means_default_and_negative_means_no_threshold() -> None:
    assert (options().min_score, options().max_garments) == (0.3, 8)
    assert options(0.5, 3).min_score == 0.5 and options(0.5, 3).max_garments == 3
    assert options(-1).min_score == 0.0
    assert options(0, 100).max_garments == 16 and options(0, -5).max_garments == 8


@pytest.mark.parametrize("bad", [(np.nan, 0), (0, np.inf)])
def test_options_must_be_numbers(bad: tuple[float, float]) -> None:
    with pytest.raises(cropping.CropError, match="OPTIONS_INVALID"):
        options(*bad)


def test_boxes_return_from_the_letterbox_to_the_photo() -> None:
    photo = np.zeros((400, 200, 3), np.uint8)
    _, frame = decoding.letterbox(photo, size=320)  # scale 0.8, 80 pixels left and right
    garments = choose(((80.0, 0.0, 160.0, 160.0), 0.9, 2), frame=tuple(frame[0]))
    assert garments.boxes[0] == pytest.approx([0.0, 0.0, 0.5, 0.5])
    assert garments.classes.tolist() == [2] and garments.sources.tolist() == [0]
    assert garments.scores == pytest.approx([0.9])


def test_boxes_are_clipped_to_the_photo_and_those_in_the_padding_dropped() -> None:
    frame = (0.8, 80.0, 0.0, 200.0, 400.0)
    garments = choose(((40.0, -20.0, 160.0, 400.0), 0.9, 2), ((10.0, 10.0, 70.0, 200.0), 0.8, 2), frame=frame)
    assert garments.boxes.tolist() == [[0.0, 0.0, 0.5, 1.0]]


def test_best_come_first_and_the_rest_is_cut() -> None:
    found = [((10.0 * i, 0.0, 10.0 * i + 50, 60.0), 0.4 + 0.03 * i, i) for i in range(14)]
    garments = choose(*found, frame=SQUARE, max_garments=5)
    assert garments.classes.tolist() == [13, 12, 11, 10, 9]
    assert (np.diff(garments.scores) < 0).all()


def test_two_names_for_one_place_are_one_garment() -> None:
    shifted = (34.0, 64.0, 98.0, 160.0)
    apart = (32.0, 64.0, 96.0, 130.0)
    garments = choose((BOX, 0.6, 0), (shifted, 0.9, 1), (apart, 0.5, 0), frame=SQUARE)
    assert garments.classes.tolist() == [1, 0]
    assert garments.boxes[1] == pytest.approx(np.array(apart) / 320)
    everything = choose((BOX, 0.6, 0), (shifted, 0.9, 1), (apart, 0.5, 0), frame=SQUARE, min_score=-1)
    assert everything.classes.tolist() == [1, 0, 0]


def test_threshold_default_given_and_none() -> None:
    found = [(BOX, 0.9, 0), ((132.0, 64.0, 196.0, 160.0), 0.29, 1), ((232.0, 64.0, 296.0, 160.0), 0.001, 2)]
    assert len(choose(*found, frame=SQUARE).boxes) == 1
    assert len(choose(*found, frame=SQUARE, min_score=0.2).boxes) == 2
    assert len(choose(*found, frame=SQUARE, min_score=-1).boxes) == 3


@pytest.mark.parametrize("found", [[], [(BOX, 0.2, 1)], [((50.0, 50.0, 50.0, 90.0), 0.9, 1)]])
def test_nothing_found_is_the_whole_image(found: list[tuple[tuple[float, ...], float, int]]) -> None:
    garments = choose(*found, frame=SQUARE)
    assert garments.boxes.tolist() == [[0, 0, 1, 1]]
    assert (garments.sources.tolist(), garments.scores.tolist(), garments.classes.tolist()) == ([2], [0], [-1])


def test_regions_are_taken_as_they_are() -> None:
    regions = np.array([[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.25, 1.0]], np.float32)
    garments = cropping.given(regions)
    assert (garments.boxes == regions).all()
    assert (garments.sources.tolist(), garments.scores.tolist(), garments.classes.tolist()) == (
        [1, 1],
        [1, 1],
        [-1, -1],
    )


@pytest.mark.parametrize(
    "regions",
    [
        np.zeros((0, 4)),
        np.tile([0, 0, 1, 1], (17, 1)),
        np.array([[0, 0, 1.01, 1]]),
        np.array([[-0.01, 0, 1, 1]]),
        np.array([[0.5, 0.2, 0.5, 0.9]]),
        np.array([[0.5, 0.9, 0.6, 0.2]]),
        np.array([[0, 0, 1, 1], [0, 0, np.nan, 1]]),
        np.array([[0, 0, np.inf, 1]]),
        np.zeros((2, 3)),
    ],
)
def test_regions_that_do_not_hold_are_refused(regions: npt.NDArray[np.float64]) -> None:
    with pytest.raises(cropping.CropError) as caught:
        cropping.given(regions.astype(np.float32))
    assert caught.value.reason == "REGION_INVALID"
    assert str(caught.value).startswith("REGION_INVALID: ")


def test_crop_is_a_square_with_context_around_the_box() -> None:
    photo = np.full((400, 400, 3), 50, np.uint8)
    photo[100:300, 150:250] = 250
    garments = cropping.given(np.array([[150, 100, 250, 300]], np.float32) / 400)
    crops, squares = cropping.cut(photo, garments, size=224, context=0.12)
    assert crops.shape == (1, 3, 224, 224) and crops.dtype == np.uint8
    x0, y0, x1, y1 = (squares[0] * 400).tolist()
    assert (x1 - x0, y1 - y0) == pytest.approx((224, 224), abs=0.01)
    assert (x0 + x1, y0 + y1) == pytest.approx((400, 400), abs=1.01)
    assert (crops[0, :, :, :50] == 50).all() and (crops[0, :, 100:120, 100:120] == 250).all()


def test_a_point_of_the_crop_is_where_crop_box_says() -> None:
    """A bright dot anywhere on the photo is found again through crop_box, enlarged or shrunk."""
    random = np.random.default_rng(5)
    for _ in range(50):
        height, width = random.integers(80, 1024, 2)
        x0, y0 = random.uniform(0, 0.6, 2)
        region = np.array([[x0, y0, x0 + random.uniform(0.2, 0.4), y0 + random.uniform(0.2, 0.4)]], np.float32)
        side = max(3, int(max((region[0, 2] - x0) * width, (region[0, 3] - y0) * height) * 0.05))
        x = int((region[0, 0] + region[0, 2]) / 2 * width - side / 2)
        y = int((region[0, 1] + region[0, 3]) / 2 * height - side / 2)
        photo = np.zeros((height, width, 3), np.uint8)
        photo[y : y + side, x : x + side] = 255
        crops, squares = cropping.cut(photo, cropping.given(region), size=224, context=0.12)
        weights = crops[0, 0] * (crops[0, 0] > 120)
        centre_y, centre_x = (np.average(np.arange(224) + 0.5, weights=weights.sum(axis=axis)) / 224 for axis in (1, 0))
        square = squares[0]
        found_x = (square[0] + centre_x * (square[2] - square[0])) * width
        found_y = (square[1] + centre_y * (square[3] - square[1])) * height
        tolerance = max(1.0, (square[2] - square[0]) * width / 224)
        assert abs(found_x - (x + side / 2)) < tolerance and abs(found_y - (y + side / 2)) < tolerance


def test_outside_the_photo_is_grey_and_crop_box_leaves_the_photo() -> None:
    photo = np.full((100, 300, 3), 255, np.uint8)
    crops, squares = cropping.cut(photo, cropping.given(np.array([[0, 0, 1, 1]], np.float32)), size=224, context=0.12)
    assert squares[0, 1] < 0 < squares[0, 3] - 1 and squares[0, 0] < 0
    assert (crops[0, :, 0] == cropping.GREY).all() and (crops[0, :, -1] == cropping.GREY).all()
    assert (crops[0, :, 112, 112] == 255).all()


def test_whole_image_has_no_context_around_it() -> None:
    photo = np.full((300, 300, 3), 255, np.uint8)
    crops, squares = cropping.cut(photo, cropping.whole_image(), size=224, context=0.12)
    assert squares.tolist() == [[0, 0, 1, 1]] and (crops == 255).all()


def test_shrinking_averages() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    crops, _ = cropping.cut(stripes, cropping.whole_image(), size=224, context=0.12)
    assert np.abs(crops.astype(int) - 127).max() < 40


@pytest.mark.parametrize("region", [[0.5, 0.5, 0.5001, 0.5001], [0.9999, 0.9999, 1, 1], [0, 0, 0.0001, 1]])
def test_tiny_regions_still_give_a_crop(region: list[float]) -> None:
    photo = np.full((60, 40, 3), 90, np.uint8)
    crops, squares = cropping.cut(photo, cropping.given(np.array([region], np.float32)), size=224, context=0.12)
    assert crops.shape == (1, 3, 224, 224)
    assert (squares[0, 2:] > squares[0, :2]).all()


def test_photo_of_one_pixel() -> None:
    crops, squares = cropping.cut(np.full((1, 1, 3), 9, np.uint8), cropping.whole_image(), size=224, context=0.12)
    assert crops.shape == (1, 3, 224, 224) and np.isfinite(squares).all()


def test_sixteen_regions_are_sixteen_crops() -> None:
    regions = np.array([[i / 32, 0, i / 32 + 0.4, 0.5] for i in range(16)], np.float32)
    crops, squares = cropping.cut(np.zeros((90, 120, 3), np.uint8), cropping.given(regions), size=224, context=0.12)
    assert len(crops) == len(squares) == 16
