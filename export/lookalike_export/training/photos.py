"""Readers of the two training sets: street photos with garments annotated, home photos of one item each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from lookalike_export.stages.vocabulary import GARMENTS

__all__ = [
    "DataError",
    "ItemPhoto",
    "Pixels",
    "StreetGarment",
    "StreetPhoto",
    "TaggedPhoto",
    "load_items",
    "load_street",
    "load_tagged",
    "read_image",
    "read_mask",
]

Pixels = npt.NDArray[np.uint8]


class DataError(ValueError):
    """A photo, label file or folder that is not as the training sets are laid out; the message names it."""


@dataclass(frozen=True, slots=True)
class StreetGarment:
    """One annotated garment: `box` x, y, w, h in pixels; `keypoints` (8, 3) float32 pixels and COCO visibility."""

    garment: int
    fine: str
    box: tuple[float, float, float, float]
    keypoints: npt.NDArray[np.float32] | None
    segmentation: Any

    def mask(self) -> Pixels:
        """Decode the (h, w) 0/1 mask."""
        height, width = self.segmentation["size"]
        return np.asarray(coco_mask.decode(coco_mask.frPyObjects(self.segmentation, height, width)), np.uint8)


@dataclass(frozen=True, slots=True)
class StreetPhoto:
    """A street photo with every garment of its main person."""

    path: Path
    width: int
    height: int
    garments: tuple[StreetGarment, ...]


@dataclass(frozen=True, slots=True)
class ItemPhoto:
    """A photo of one item; `mask` is a PNG of its foreground when one could be cut."""

    path: Path
    garment: int
    label: str
    mask: Path | None


@dataclass(frozen=True, slots=True)
class TaggedPhoto:
    """A street photo of which only the garments' classes are known, sorted."""

    path: Path
    garments: tuple[int, ...]


def read_image(path: Path) -> Pixels:
    """Read an RGB image (h, w, 3); raises DataError when it cannot be decoded."""
    return np.asarray(cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_mask(path: Path) -> Pixels:
    """Read a mask (h, w), 0 or 255; raises DataError when it cannot be decoded."""
    return _decoded(path, cv2.IMREAD_GRAYSCALE)


def _decoded(path: Path, mode: int) -> Pixels:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise DataError(f"{path} is missing or is not an image that OpenCV can read")
    return np.asarray(image, np.uint8)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; DATA must point at a folder with street/ and items/ (docs/models.md)"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error


def load_street(data: Path, split: str) -> list[StreetPhoto]:
    """Read `street/<split>/coco.json`; category ids are 1 + the index in GARMENTS."""
    folder = data / "street" / split
    coco = _read_json(folder / "coco.json")
    garments: dict[int, list[StreetGarment]] = {}
    try:
        for annotation in coco["annotations"]:
            keypoints = annotation.get("keypoints")
            garment = StreetGarment(
                garment=annotation["category_id"] - 1,
                fine=annotation.get("fine", ""),
                box=tuple(annotation["bbox"]),
                keypoints=np.array(keypoints, np.float32).reshape(8, 3) if keypoints else None,
                segmentation=annotation["segmentation"],
            )
            garments.setdefault(annotation["image_id"], []).append(garment)
        return [
            StreetPhoto(
                folder / "images" / image["file_name"],
                image["width"],
                image["height"],
                tuple(garments.get(image["id"], ())),
            )
            for image in coco["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'coco.json'} is not laid out as expected: {error!r}") from error


def load_tagged(data: Path, split: str) -> list[TaggedPhoto]:
    """Read the photos of one split from `street/tagged/tags.json`; tags that are no garments (skin, hair) are left."""
    folder = data / "street" / "tagged"
    try:
        return [
            TaggedPhoto(
                folder / "images" / row["file_name"],
                tuple(sorted(GARMENTS.index(tag) for tag in row["coarse_tags"] if tag in GARMENTS)),
            )
            for row in _read_json(folder / "tags.json")
            if row["split"] == split
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'tags.json'} is not laid out as expected: {error!r}") from error


def load_items(data: Path, split: str, *, masks: dict[str, Path] | None = None) -> list[ItemPhoto]:
    """Read `items/<split>/labels.json`; `masks` maps file names to foreground masks (foreground.py)."""
    folder = data / "items" / split
    known = masks or {}
    try:
        return [
            ItemPhoto(
                folder / "images" / row["file_name"],
                GARMENTS.index(row["coarse"]),
                row["label"].lower(),
                known.get(row["file_name"]),
            )
            for row in _read_json(folder / "labels.json")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'labels.json'} is not laid out as expected: {error!r}") from error
