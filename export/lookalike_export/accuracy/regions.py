"""Masks and landmarks inside the true boxes of street photos."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.accuracy.asking import MOST, Figures, each, region_of
from lookalike_export.stages.vocabulary import GARMENTS, MAIN
from lookalike_export.training.photos import StreetGarment, StreetPhoto
from lookalike_service.model import Box, Found, Garment, GarmentFinder

__all__ = ["masks_and_landmarks"]


async def masks_and_landmarks(finder: GarmentFinder, photos: list[StreetPhoto]) -> Figures:
    """Masks and landmarks inside true boxes, so that the detector's errors are not counted twice."""
    overlaps: dict[str, list[float]] = {}
    distances: list[float] = []

    async def one(photo: StreetPhoto) -> None:
        garments = [g for g in photo.garments if min(g.box[2:]) >= 2][:MOST]
        if not garments:
            return
        found: Found = await finder.find(photo.path.read_bytes(), regions=[region_of(g, photo) for g in garments])
        for true, seen in zip(garments, found.garments, strict=True):
            overlaps.setdefault(GARMENTS[true.garment], []).append(_mask_overlap(true, seen, photo))
            distances.extend(_landmark_distances(true, seen, photo))

    await each(photos, one)
    by_class = {name: float(np.mean(values)) for name, values in overlaps.items()}
    apart = np.array(distances)
    return {
        "segment_miou": float(np.mean([by_class[name] for name in MAIN])),
        "segment_iou_by_class": by_class,
        "keypoints_pck10": float((apart < 0.1).mean()),
        "keypoints_pck05": float((apart < 0.05).mean()),
    }


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
