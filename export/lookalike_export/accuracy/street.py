"""Garments of street photos: found again under another view, and described as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.accuracy.asking import MOST, Figures, as_jpeg, each, mean_by, nearest, region_of
from lookalike_export.stages.colours import named_shares
from lookalike_export.stages.vocabulary import COLOURS, GARMENTS, MATERIALS, PATTERNS, material_of
from lookalike_export.training.changes import another_view, dice, paste_onto, wall
from lookalike_export.training.crops import mask_box
from lookalike_export.training.painting import paint_fabric
from lookalike_export.training.photos import Pixels, StreetGarment, StreetPhoto, load_street, read_image
from lookalike_service.model import Box, Garment, GarmentFinder, Label

__all__ = ["street"]

_SMALLEST = 32  # pixels of the longer side; what is smaller shows too little to be told apart by anybody
_PAINTED = ("top", "outer", "dress", "pants", "shorts", "skirt", "scarf_tie")  # what is made of printed cloth


@dataclass(frozen=True, slots=True)
class _Worn:
    photo: StreetPhoto
    true: StreetGarment
    seen: Garment


async def street(finder: GarmentFinder, data: Path, split: str) -> Figures:
    """Garments in their true boxes, so that the detector's errors are not counted twice."""
    judged = await _look(finder, load_street(data, split))
    gallery = [] if split == "train" else await _look(finder, load_street(data, "train"))
    again = await _found_again(finder, judged, gallery)
    return again | _colours(judged) | _materials(judged) | await _patterns(finder, judged)


async def _look(finder: GarmentFinder, photos: list[StreetPhoto]) -> list[_Worn]:
    async def one(photo: StreetPhoto) -> list[_Worn]:
        garments = [g for g in photo.garments if max(g.box[2:]) >= _SMALLEST and min(g.box[2:]) >= 2][:MOST]
        if not garments:
            return []
        found = await finder.find(photo.path.read_bytes(), regions=[region_of(g, photo) for g in garments])
        return [_Worn(photo, true, seen) for true, seen in zip(garments, found.garments, strict=True)]

    return [worn for several in await each(photos, one) for worn in several]


async def _found_again(finder: GarmentFinder, judged: list[_Worn], gallery: list[_Worn]) -> Figures:
    """Each judged garment, cut out and changed, must find itself among all of both splits."""

    async def ask(index: int) -> Garment:
        picture, mask = _cut(judged, index)
        x, y, w, h = mask_box(mask)
        height, width = mask.shape
        seen = min(w, h) >= 4
        box = Box(x / width, y / height, (x + w) / width, (y + h) / height) if seen else Box(0, 0, 1, 1)
        return (await finder.find(as_jpeg(picture, quality=40), regions=[box])).garments[0]

    changed = np.stack([g.embedding for g in await each(range(len(judged)), ask)])
    first = nearest(changed, np.stack([w.seen.embedding for w in judged + gallery]), count=1)[:, 0]
    right = first == np.arange(len(judged))
    by_class = mean_by((GARMENTS[w.true.garment], float(r)) for w, r in zip(judged, right, strict=True))
    return {"retrieval_street_r1": float(right.mean()), "retrieval_street_r1_by_class": by_class}


def _cut(judged: list[_Worn], index: int) -> tuple[Pixels, Pixels]:
    """The garment with a quarter of its size around it, on another background, seen anew; and where it is now."""
    worn = judged[index]
    rng = dice(f"{worn.photo.path.name}/{worn.true.box}", salt="street")
    x, y, w, h = worn.true.box
    left, top = max(int(x - w / 4), 0), max(int(y - h / 4), 0)
    inside = (slice(top, int(y + 1.25 * h) + 1), slice(left, int(x + 1.25 * w) + 1))
    mask = (worn.true.mask()[inside] > 0).astype(np.uint8) * np.uint8(255)
    other = judged[int(rng.integers(len(judged)))].photo
    image = paste_onto(read_image(worn.photo.path)[inside], mask, wall(read_image(other.path), rng))
    return another_view(image, mask, rng)


def _colours(judged: list[_Worn]) -> Figures:
    """Shares of the named colours against those of the pixels under the true mask."""
    overlaps, main = [], []
    for worn in judged:
        pixels = read_image(worn.photo.path)[worn.true.mask() > 0]
        true = named_shares(pixels)
        found = _as_vector(worn.seen.colours, tuple(COLOURS))
        overlaps.append(float(np.minimum(true, found).sum()))
        main.append(bool(true.argmax() == found.argmax()))
    return {"colour_overlap": float(np.mean(overlaps)), "colour_main": float(np.mean(main))}


def _as_vector(labels: tuple[Label, ...], names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    shares = {label.name: label.score for label in labels}
    return np.array([shares.get(name, 0.0) for name in names], np.float32)


def _materials(judged: list[_Worn]) -> Figures:
    """Weak truth: "jeans" are denim, a "cardigan" is knit; garments whose label does not tell are left out."""
    pairs = []
    for worn in judged:
        true = material_of(worn.true.fine)
        if true >= 0:
            pairs.append((MATERIALS[true], float(_likeliest(worn.seen.materials) == MATERIALS[true])))
    return {
        "material_top1": float(np.mean([right for _, right in pairs])) if pairs else 0.0,
        "material_top1_by_class": mean_by(pairs),
    }


async def _patterns(finder: GarmentFinder, judged: list[_Worn]) -> Figures:
    """Rendered fabrics painted into true masks, one fabric per garment, the patterns in turn."""
    cloth = [w for w in judged if GARMENTS[w.true.garment] in _PAINTED]

    async def ask(index: int) -> tuple[str, float]:
        worn, pattern = cloth[index], PATTERNS[index % len(PATTERNS)]
        mask = (worn.true.mask() > 0).astype(np.uint8) * np.uint8(255)
        painted = paint_fabric(
            read_image(worn.photo.path), cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.uint8), worn.true.box,
            pattern=pattern, rng=dice(f"{worn.photo.path.name}/{index}", salt="pattern"),
        )  # fmt: skip
        found = await finder.find(as_jpeg(painted), regions=[region_of(worn.true, worn.photo)])
        return pattern, float(_likeliest(found.garments[0].patterns) == pattern)

    pairs = await each(range(len(cloth)), ask)
    return {
        "pattern_top1": float(np.mean([right for _, right in pairs])) if pairs else 0.0,
        "pattern_top1_by_class": mean_by(pairs),
    }


def _likeliest(labels: tuple[Label, ...]) -> str:
    return labels[0].name if labels else ""
