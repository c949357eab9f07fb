"""Training data in another shape: every fault is one sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lookalike_export.__main__ import main
from lookalike_export.stages.vocabulary import CATEGORIES, GARMENTS
from lookalike_export.training.checks import check_data
from lookalike_export.training.photos import DataError

SIDE = 48


def write_photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    cv2.imwrite(str(path), noise)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two street photos with every class, and a home photo of every label, in each split."""
    for split in ("train", "public_test"):
        street, items = tmp_path / "street" / split, tmp_path / "items" / split
        annotations = [
            {
                "image_id": index % 2,
                "category_id": index + 1,
                "bbox": [4, 4, 30, 30],
                "segmentation": {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]},
                "keypoints": [10, 10, 2] * 8 if index < 6 else None,
            }
            for index in range(len(GARMENTS))
        ]
        images = [{"id": i, "file_name": f"{i}.jpg", "width": SIDE, "height": SIDE} for i in range(2)]
        for name in ("0.jpg", "1.jpg"):
            write_photo(street / "images" / name)
        (street / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
        rows = []
        for number, category in enumerate(CATEGORIES[:17]):
            coarse, _, fine = category.partition("/")
            rows.append({"file_name": f"{number}.jpg", "coarse": coarse, "label": (fine or coarse).capitalize()})
            write_photo(items / "images" / f"{number}.jpg")
        (items / "labels.json").write_text(json.dumps(rows))
    return tmp_path


@pytest.mark.parametrize("stage", ["detect", "keypoints", "segment", "embed"])
def test_a_good_folder_passes(data: Path, stage: str) -> None:
    check_data(data, stage)


def test_another_layout_names_the_file_that_was_looked_for(data: Path) -> None:
    (data / "street" / "train" / "coco.json").rename(data / "street" / "train" / "instances.json")
    with pytest.raises(DataError, match=r"street/train/coco\.json is missing; DATA must point at"):
        check_data(data, "detect")
    with pytest.raises(DataError, match=r"nowhere is not a folder; DATA must point at"):
        check_data(data / "nowhere", "detect")


def test_a_label_file_of_another_shape_is_named(data: Path) -> None:
    rewrite(data / "items" / "train" / "labels.json", lambda rows: {"labels": rows})
    with pytest.raises(DataError, match=r"items/train/labels\.json is not laid out as expected"):
        check_data(data, "embed")


def test_a_category_beyond_the_vocabulary_names_file_and_photo(data: Path) -> None:
    def change(coco: dict[str, Any]) -> None:
        coco["annotations"][0]["category_id"] = 59

    rewrite(data / "street" / "train" / "coco.json", change)
    with pytest.raises(DataError, match=r"coco\.json: category_id 59 on 0\.jpg; garments are 1 to 14"):
        check_data(data, "detect")


@pytest.mark.parametrize(
    ("stage", "garment", "part"),
    [("detect", "hat", "annotations"), ("segment", "belt", "annotations"), ("keypoints", "skirt", "landmarks")],
)
def test_a_class_without_a_sample_is_named_with_its_file(data: Path, stage: str, garment: str, part: str) -> None:
    number = GARMENTS.index(garment) + 1

    def change(coco: dict[str, Any]) -> None:
        if part == "landmarks":
            for annotation in coco["annotations"]:
                if annotation["category_id"] == number:
                    annotation["keypoints"] = None
        else:
            coco["annotations"] = [a for a in coco["annotations"] if a["category_id"] != number]

    rewrite(data / "street" / "train" / "coco.json", change)
    with pytest.raises(DataError, match=rf"street/train/coco\.json has no sample of {garment},"):
        check_data(data, stage)


def test_a_label_without_a_sample_is_named_with_its_file(data: Path) -> None:
    rewrite(data / "items" / "train" / "labels.json", lambda rows: [r for r in rows if r["label"] != "Polo"])
    with pytest.raises(DataError, match=r"items/train/labels\.json has no sample of top/polo,"):
        check_data(data, "embed")
    check_data(data, "detect")


@pytest.mark.parametrize("part", ["street", "items"])
def test_a_corrupt_photo_is_named(data: Path, part: str) -> None:
    photo = data / part / "train" / "images" / "1.jpg"
    content = photo.read_bytes()
    for damaged, expected in (
        (content[: len(content) // 2], "is damaged or is no image"),
        (b"<html>not found</html>", "is damaged or is no image"),
        (None, "is missing, though the labels name it"),
    ):
        photo.unlink()
        if damaged is not None:
            photo.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{photo} {expected}"):
            check_data(data, "detect")


def test_a_photo_of_another_size_than_its_boxes_is_named(data: Path) -> None:
    photo = data / "street" / "public_test" / "images" / "0.jpg"
    cv2.imwrite(str(photo), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match=rf"{photo} is 30 x 20 pixels, but its coco\.json says 48 x 48"):
        check_data(data, "segment")


def test_the_command_prints_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = data / "items" / "train" / "images" / "3.jpg"
    photo.write_bytes(b"")
    assert main(["train", "detect", "--data", str(data), "--build", str(data / "build")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lookalike_export: {photo} is damaged")
