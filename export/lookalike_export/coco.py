"""Average precision of boxes as COCO counts it (pycocotools)."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lookalike_export.stages.vocabulary import GARMENTS

__all__ = ["average_precision", "box_precision", "box_rows", "image_ids"]

Precision = npt.NDArray[np.float64]


def image_ids(truth: Path) -> dict[str, int]:
    """File name -> id of the images of a `coco.json`."""
    return {image["file_name"]: image["id"] for image in json.loads(truth.read_text())["images"]}


def box_rows(
    image: int, corners: npt.NDArray[np.floating[Any]], scores: Iterable[float], garments: Iterable[int]
) -> list[dict[str, Any]]:
    """Result rows of one image: corners (n, 2, 2) in its pixels, scores, indices into GARMENTS."""
    return [
        {"image_id": image, "category_id": garment + 1, "bbox": [*low.tolist(), *(high - low).tolist()], "score": score}
        for (low, high), score, garment in zip(corners, scores, garments, strict=True)
    ]


def box_precision(truth: Path, rows: list[dict[str, Any]]) -> Precision:
    """Precision (10 IoU thresholds from 0.5, 101 recalls, 14 classes) of result rows of COCO's format."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        judge = COCOeval(coco, coco.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
    return np.asarray(judge.eval["precision"][:, :, :, 0, 2], np.float64)


def average_precision(precision: Precision, names: Iterable[str], *, thresholds: slice = slice(None)) -> float:
    """Mean over classes; `slice(0, 1)` is AP50, all thresholds are AP."""
    return float(np.mean([precision[thresholds, :, GARMENTS.index(name)].mean() for name in names]))
