"""Boxes on street photos against the annotated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lookalike_export.accuracy.asking import MOST, Figures, each
from lookalike_export.coco import average_precision, box_precision, image_ids
from lookalike_export.stages.vocabulary import ACCESSORIES, GARMENTS, MAIN
from lookalike_export.training.photos import StreetPhoto
from lookalike_service.model import Garment, GarmentFinder

__all__ = ["detection"]

_ANY_SCORE = -1.0  # the ensemble's way to ask for a threshold of zero; 0 is its default


async def detection(finder: GarmentFinder, photos: list[StreetPhoto], truth: Path) -> Figures:
    """COCO average precision of the boxes (pycocotools), score threshold 0."""
    ids = image_ids(truth)

    async def boxes(photo: StreetPhoto) -> list[dict[str, Any]]:
        found = await finder.find(photo.path.read_bytes(), min_score=_ANY_SCORE, max_garments=MOST)
        return [_coco_row(garment, photo, ids[photo.path.name]) for garment in found.garments if garment.detected]

    rows = [row for rows in await each(photos, boxes) for row in rows]
    precision = box_precision(truth, rows)
    by_class = {name: float(precision[0, :, i].mean()) for i, name in enumerate(GARMENTS)}
    return {
        "detect_ap50": float(np.mean([by_class[name] for name in MAIN])),
        "detect_ap": average_precision(precision, MAIN),
        "detect_ap50_accessories": float(np.mean([by_class[name] for name in ACCESSORIES])),
        "detect_ap50_by_class": by_class,
    }


def _coco_row(garment: Garment, photo: StreetPhoto, image: int) -> dict[str, Any]:
    box = garment.box
    x, y = box.x0 * photo.width, box.y0 * photo.height
    sides = [(box.x1 - box.x0) * photo.width, (box.y1 - box.y0) * photo.height]
    return {
        "image_id": image,
        "category_id": GARMENTS.index(garment.detected) + 1,
        "bbox": [x, y, *sides],
        "score": garment.score,
    }
