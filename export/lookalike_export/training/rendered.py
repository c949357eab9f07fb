"""Rendered photos with perfect annotations, drawn once and kept as files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.stages.vocabulary import GARMENTS, MATERIALS, PATTERNS
from lookalike_export.training.photos import Pixels
from lookalike_service.wardrobe import Item, Photo, choose_outfit, make_items, render_item, render_outfit

__all__ = ["RenderedGarment", "RenderedScene", "rendered_items", "rendered_scenes"]


_DRAWN = 2
"""Goes up when the wardrobe is drawn differently, so that nothing of before is taken from the cache."""


@dataclass(frozen=True, slots=True)
class RenderedGarment:
    """One rendered garment: where photo and mask lie, and what it is; `keypoints` (8, 3) pixels, 0/1 visibility."""

    item: str
    path: Path
    mask: Path
    garment: int
    label: str
    pattern: int
    material: int
    box: tuple[float, float, float, float]
    keypoints: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RenderedScene:
    """A rendered photo with boxes (g, 5): x0 y0 x1 y1 in pixels, class."""

    path: Path
    boxes: npt.NDArray[np.float32]
    single: bool
    garments: tuple[RenderedGarment, ...]


def rendered_scenes(cache: Path, *, outfits: int, singles: int, seed: int = 1) -> list[RenderedScene]:
    """Outfits worn together, and shop photos of single items (two views in turn)."""
    items = make_items(600, seed=seed)
    scenes = []
    for index in range(outfits):
        stem = cache / _name(f"outfit-{seed}-{index}")
        scenes.append(_kept(stem, partial(_draw_outfit, items, index=index, seed=seed), single=False))
    for index in range(singles):
        stem = cache / _name(f"single-{seed}-{index}")
        draw = partial(render_item, items[index % len(items)], view=index % 3, size=360)
        scenes.append(_kept(stem, draw, single=True))
    return scenes


def rendered_items(
    cache: Path, *, count: int, views: int = 2, first: int = 0, seed: int = 2, only: range | None = None
) -> list[list[RenderedGarment]]:
    """Several views, from the `first` on, of each of `count` items or of those of them that `only` names.

    Returns lists of views, one list per item.
    """
    found = []
    items = make_items(count, seed=seed)
    for item in items if only is None else [items[i] for i in only]:
        shots = [
            _kept(
                cache / _name(f"item-{seed}-{item.id}-{view}"),
                partial(render_item, item, view=view, size=320),
                single=True,
            )
            for view in range(first, first + views)
        ]
        found.append([shot.garments[0] for shot in shots])
    return found


def _name(text: str) -> str:
    return hashlib.sha256(f"{_DRAWN}-{text}".encode()).hexdigest()[:16]


def _draw_outfit(items: list[Item], *, index: int, seed: int) -> Photo:
    return render_outfit(choose_outfit(items, seed=index + seed * 1000), seed=index, size=(427, 640))


def _kept(stem: Path, draw: Callable[[], Photo], *, single: bool) -> RenderedScene:
    """Draw and store, or read what was stored before."""
    record = stem.with_suffix(".json")
    if not record.exists():
        stem.parent.mkdir(parents=True, exist_ok=True)
        _store(stem, draw())
    rows = json.loads(record.read_text())
    path = stem.with_suffix(".jpg")
    garments = tuple(
        RenderedGarment(
            row["item"],
            path,
            stem.with_name(f"{stem.name}-{i}.png"),
            row["garment"],
            row["label"],
            row["pattern"],
            row["material"],
            tuple(row["box"]),
            np.array(row["keypoints"], np.float32),
        )
        for i, row in enumerate(rows)
    )
    boxes = np.array(
        [[g.box[0], g.box[1], g.box[0] + g.box[2], g.box[1] + g.box[3], g.garment] for g in garments], np.float32
    )
    return RenderedScene(path, boxes.reshape(-1, 5), single, garments)


def _store(stem: Path, photo: Photo) -> None:
    height, width = photo.image.shape[:2]
    rows = []
    for index, drawn in enumerate(photo.garments):
        x0, y0, x1, y1 = drawn.box
        keypoints = drawn.landmarks * np.array([width, height, 1], np.float32)
        keypoints[:, 2] = keypoints[:, 2] > 1  # street landmarks exist only where they are seen
        rows.append(
            {
                "item": drawn.item.id,
                "garment": GARMENTS.index(drawn.item.category),
                "label": drawn.item.label,
                "pattern": PATTERNS.index(drawn.item.pattern),
                "material": MATERIALS.index(drawn.item.material),
                "box": [float(x0 * width), float(y0 * height), float((x1 - x0) * width), float((y1 - y0) * height)],
                "keypoints": keypoints.tolist(),
            }
        )
        cv2.imwrite(str(stem.with_name(f"{stem.name}-{index}.png")), _as_bytes(drawn.mask))
    cv2.imwrite(str(stem.with_suffix(".jpg")), photo.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    stem.with_suffix(".json").write_text(json.dumps(rows))


def _as_bytes(mask: Pixels) -> Pixels:
    return (mask > 0).astype(np.uint8) * np.uint8(255)
