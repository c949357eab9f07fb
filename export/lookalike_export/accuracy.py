"""How good the served ensemble is on photographs, measured over gRPC; writes a table and a JSON file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lookalike_export.stages.vocabulary import ACCESSORIES, GARMENTS, MAIN
from lookalike_export.training.photos import StreetGarment, StreetPhoto, load_items, load_street
from lookalike_service.model import Box, Found, Garment, GarmentFinder

__all__ = ["measure"]

_ANY_SCORE = -1.0  # the ensemble's way to ask for a threshold of zero; 0 is its default
_MOST = 16
_AT_ONCE = 4

Figures = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")


async def measure(finder: GarmentFinder, data: Path, *, split: str = "public_test") -> Figures:
    """All figures; `finder` is a connection to the served ensemble."""
    street = load_street(data, split)
    figures = await _detection(finder, street, data / "street" / split / "coco.json")
    figures |= await _regions(finder, street)
    figures |= await _items(finder, data, split)
    return figures


async def _each(values: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Run `work` on every value, a few at once, and keep the order."""
    permits = asyncio.Semaphore(_AT_ONCE)

    async def one(value: T) -> R:
        async with permits:
            return await work(value)

    return list(await asyncio.gather(*(one(v) for v in values)))


async def _detection(finder: GarmentFinder, photos: list[StreetPhoto], truth: Path) -> Figures:
    ids = {image["file_name"]: image["id"] for image in json.loads(truth.read_text())["images"]}

    async def boxes(photo: StreetPhoto) -> list[dict[str, Any]]:
        found = await finder.find(photo.path.read_bytes(), min_score=_ANY_SCORE, max_garments=_MOST)
        return [_coco_row(garment, photo, ids[photo.path.name]) for garment in found.garments if garment.detected]

    rows = [row for rows in await _each(photos, boxes) for row in rows]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        judge = COCOeval(coco, coco.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]  # (10 IoU thresholds, 101 recalls, classes)
    by_class = {name: float(precision[0, :, i].mean()) for i, name in enumerate(GARMENTS)}
    return {
        "detect_ap50": float(np.mean([by_class[name] for name in MAIN])),
        "detect_ap": float(np.mean([precision[:, :, GARMENTS.index(name)].mean() for name in MAIN])),
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


async def _regions(finder: GarmentFinder, photos: list[StreetPhoto]) -> Figures:
    """Masks and landmarks inside true boxes, so that the detector's errors are not counted twice."""
    overlaps: dict[str, list[float]] = {}
    distances: list[float] = []

    async def one(photo: StreetPhoto) -> None:
        garments = [g for g in photo.garments if min(g.box[2:]) >= 2][:_MOST]
        if not garments:
            return
        found: Found = await finder.find(photo.path.read_bytes(), regions=[_region(g, photo) for g in garments])
        for true, seen in zip(garments, found.garments, strict=True):
            overlaps.setdefault(GARMENTS[true.garment], []).append(_mask_overlap(true, seen, photo))
            distances.extend(_landmark_distances(true, seen, photo))

    await _each(photos, one)
    by_class = {name: float(np.mean(values)) for name, values in overlaps.items()}
    apart = np.array(distances)
    return {
        "segment_miou": float(np.mean([by_class[name] for name in MAIN])),
        "segment_iou_by_class": by_class,
        "keypoints_pck10": float((apart < 0.1).mean()),
        "keypoints_pck05": float((apart < 0.05).mean()),
    }


def _region(garment: StreetGarment, photo: StreetPhoto) -> Box:
    x, y, w, h = garment.box
    return Box(x / photo.width, y / photo.height, min((x + w) / photo.width, 1.0), min((y + h) / photo.height, 1.0))


def _mask_overlap(true: StreetGarment, seen: Garment, photo: StreetPhoto) -> float:
    """IoU with the true mask in the photo's own pixels, inside the true box."""
    x, y, w, h = (round(v) for v in true.box)
    inside = (slice(max(y, 0), y + h), slice(max(x, 0), x + w))
    found = _on_photo(seen.mask, seen.crop_box, photo)[inside] > 127
    expected = true.mask()[inside] > 0
    union = float((found | expected).sum())
    return float((found & expected).sum()) / union if union else 0.0


def _on_photo(mask: npt.NDArray[np.uint8], box: Box, photo: StreetPhoto) -> npt.NDArray[np.uint8]:
    side = mask.shape[0]
    sx, sy = (box.x1 - box.x0) * photo.width / side, (box.y1 - box.y0) * photo.height / side
    # cell centres of the mask lie at (i + 0.5) * s on the photo
    matrix = np.array([[sx, 0, box.x0 * photo.width + sx / 2 - 0.5], [0, sy, box.y0 * photo.height + sy / 2 - 0.5]])
    placed = cv2.warpAffine(mask, matrix, (photo.width, photo.height), flags=cv2.INTER_LINEAR, borderValue=(0,))
    return np.asarray(placed, np.uint8)


def _landmark_distances(true: StreetGarment, seen: Garment, photo: StreetPhoto) -> list[float]:
    """Distances in diagonals of the true box, for the landmarks that exist."""
    if true.keypoints is None:
        return []
    diagonal = float(np.hypot(*true.box[2:]))
    pixels = seen.landmarks[:, :2] * np.array([photo.width, photo.height])
    known = true.keypoints[:, 2] > 0
    return [float(v) for v in np.linalg.norm(pixels - true.keypoints[:, :2], axis=1)[known] / diagonal]


async def _items(finder: GarmentFinder, data: Path, split: str) -> Figures:
    """Home photos, whole: the service finds the garment itself; its surest one counts."""
    items = load_items(data, split)

    async def described(path: Path) -> Garment:
        found = await finder.find(path.read_bytes(), max_garments=1)
        return found.garments[0]

    garments = await _each([item.path for item in items], described)
    right = [g.category == GARMENTS[item.garment] for g, item in zip(garments, items, strict=True)]
    fine = [_fine_label(g) == item.label for g, item in zip(garments, items, strict=True)]
    classes = sorted({GARMENTS[item.garment] for item in items})
    by_class = {
        c: float(np.mean([r for r, item in zip(right, items, strict=True) if GARMENTS[item.garment] == c]))
        for c in classes
    }
    return {
        "items_top1": float(np.mean(right)),
        "items_fine_top1": float(np.mean(fine)),
        "items_top1_by_class": by_class,
        "items_found_share": float(np.mean([bool(g.detected) for g in garments])),
    }


def _fine_label(garment: Garment) -> str:
    return garment.categories[0].name.rsplit("/", 1)[-1] if garment.categories else ""


def main() -> None:
    """`python -m lookalike_export.accuracy --data DATA`: starts the embedded Triton, measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with street/ and items/")
    parser.add_argument("--split", default="public_test")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--out", type=Path, default=Path("build/accuracy.json"))
    arguments = parser.parse_args()
    figures = asyncio.run(_with_triton(arguments))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1))
    for key, value in figures.items():
        if not isinstance(value, dict):
            print(f"{key:28} {value:.3f}")
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{key}: " + "  ".join(f"{name} {figure:.2f}" for name, figure in value.items()))
    print(f"written to {arguments.out}")


async def _with_triton(arguments: argparse.Namespace) -> Figures:
    from lookalike_service.embedded.triton import EmbeddedTriton
    from lookalike_service.triton import TritonFinder

    with EmbeddedTriton(arguments.repository, run_directory=arguments.out.parent / "accuracy") as triton:
        finder = await TritonFinder.connect(triton.grpc_address, embedding_version=1)
        try:
            return await measure(finder, arguments.data, split=arguments.split)
        finally:
            await finder.close()


if __name__ == "__main__":
    main()
