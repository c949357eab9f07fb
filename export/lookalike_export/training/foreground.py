"""Rough garment masks for home photos that come without any: colour models of border and middle, cut apart.

The photos of `items/` show one garment each, lying, hanging or held, and have no mask. GrabCut (Rother et al.,
SIGGRAPH 2004) started from a frame of sure background separates it well enough to train on once the doubtful
results are dropped.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.training.photos import read_image

__all__ = ["cut_foreground", "foreground_masks"]

Mask = npt.NDArray[np.uint8]
_LONGEST_SIDE = 192


def cut_foreground(image: npt.NDArray[np.uint8]) -> Mask | None:
    """Return the (h, w) 0/255 mask of the one garment on an RGB photo, or None where the cut looks doubtful.

    A result is doubtful when it covers under 8 % or over 85 % of the photo, falls into several large pieces, or
    when its colours barely differ from the background's.
    """
    height, width = image.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape[:2]
    state = np.full((rows, columns), cv2.GC_PR_FGD, np.uint8)
    frame_y, frame_x = max(2, rows // 25), max(2, columns // 25)
    y, x = np.mgrid[0:rows, 0:columns]
    centre = ((x / columns - 0.5) / 0.42) ** 2 + ((y / rows - 0.5) / 0.42) ** 2
    state[centre > 1.0] = cv2.GC_PR_BGD
    state[:frame_y], state[-frame_y:] = cv2.GC_BGD, cv2.GC_BGD
    state[:, :frame_x], state[:, -frame_x:] = cv2.GC_BGD, cv2.GC_BGD
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0), cv2.COLOR_RGB2LAB)
    try:
        cv2.grabCut(lab, state, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # a photo of one flat colour leaves a model without samples
        return None
    likely = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    opened = cv2.morphologyEx(likely, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    garment = _largest_piece(np.asarray(opened, np.uint8))
    if garment is None or not 0.08 <= garment.mean() <= 0.85:
        return None
    inside, outside = lab[garment > 0].mean(axis=0), lab[garment == 0].mean(axis=0)
    if np.linalg.norm(inside - outside) < 18:
        return None
    full = cv2.resize(garment * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(full > 127, 255, 0).astype(np.uint8)


def foreground_masks(images: list[Path], *, cache: Path) -> dict[str, Path]:
    """Cut every image once, keep the masks as PNG below `cache`; returns file name -> mask without the doubtful."""
    cache.mkdir(parents=True, exist_ok=True)
    masks = {}
    for path in images:
        kept, doubtful = cache / f"{path.stem}.png", cache / f"{path.stem}.none"
        if not kept.exists() and not doubtful.exists():
            mask = cut_foreground(read_image(path))
            if mask is None:
                doubtful.touch()
            else:
                cv2.imwrite(str(kept), mask)
        if kept.exists():
            masks[path.name] = kept
    return masks


def _largest_piece(garment: Mask) -> Mask | None:
    """Fill the holes of the largest connected piece; None when a second piece is more than a third of it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(garment)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas)
    if len(order) > 1 and areas[order[1]] > areas[order[0]] / 3:
        return None
    piece = (labels == order[0] + 1).astype(np.uint8)
    outline, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(piece), outline, -1, (1,), cv2.FILLED), np.uint8)
