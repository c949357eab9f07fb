"""Home photos of one garment each: is it named rightly, and do its neighbours and other views of it agree?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lookalike_export.accuracy.asking import Figures, Vectors, as_jpeg, each, mean_by, nearest
from lookalike_export.stages.vocabulary import GARMENTS
from lookalike_export.training.changes import another_view, dice, film_still, paste_onto, wall
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.photos import ItemPhoto, Pixels, load_items, read_image, read_mask
from lookalike_service.model import Garment, GarmentFinder

__all__ = ["items"]


@dataclass(frozen=True, slots=True)
class _Shelf:
    """All home photos as the service sees them: the judged ones first, then those of the gallery."""

    photos: list[ItemPhoto]
    garments: list[Garment]
    judged: int

    @property
    def vectors(self) -> Vectors:
        return np.stack([g.embedding for g in self.garments])


async def items(finder: GarmentFinder, data: Path, split: str, *, cache: Path) -> Figures:
    """Whole photos go in, the service finds the garment, its surest one counts; the gallery is this split and train."""
    paths = sorted((data / "items" / split / "images").glob("*.jpg"))
    judged = load_items(data, split, masks=foreground_masks(paths, cache=cache / f"items_masks_{split}"))
    gallery = [] if split == "train" else load_items(data, "train")
    photos = judged + gallery
    garments = await each([p.path.read_bytes() for p in photos], partial(_surest, finder))
    shelf = _Shelf(photos, garments, len(judged))
    figures = _named(shelf) | _neighbours(shelf)
    figures["retrieval_view_r1"] = await _found_again(finder, shelf, _viewed)
    figures["retrieval_still_r1"] = await _found_again(finder, shelf, _filmed)
    return figures


async def _surest(finder: GarmentFinder, image: bytes) -> Garment:
    return (await finder.find(image, max_garments=1)).garments[0]


def _named(shelf: _Shelf) -> Figures:
    judged = list(zip(shelf.photos[: shelf.judged], shelf.garments, strict=False))
    right = [(GARMENTS[p.garment], float(g.category == GARMENTS[p.garment])) for p, g in judged]
    return {
        "items_top1": float(np.mean([value for _, value in right])),
        "items_fine_top1": float(np.mean([_fine_label(g) == p.label for p, g in judged])),
        "items_top1_by_class": mean_by(right),
        "items_found_share": float(np.mean([bool(g.detected) for _, g in judged])),
    }


def _fine_label(garment: Garment) -> str:
    return garment.categories[0].name.rsplit("/", 1)[-1] if garment.categories else ""


def _neighbours(shelf: _Shelf) -> Figures:
    """Share of the five nearest other photos that show the same class."""
    classes = np.array([p.garment for p in shelf.photos])
    count = shelf.judged
    near = nearest(shelf.vectors[:count], shelf.vectors, count=5, but=range(count))
    agree = (classes[near] == classes[:count, None]).mean(axis=1)
    by_class = mean_by((GARMENTS[c], float(v)) for c, v in zip(classes[:count], agree, strict=True))
    return {"retrieval_p5": float(agree.mean()), "retrieval_p5_by_class": by_class}


async def _found_again(finder: GarmentFinder, shelf: _Shelf, change: Callable[[_Shelf, int], bytes]) -> float:
    """Share of the judged photos whose changed picture has the photo itself as its nearest."""

    async def ask(index: int) -> Garment:
        return await _surest(finder, change(shelf, index))

    changed = np.stack([g.embedding for g in await each(range(shelf.judged), ask)])
    first = nearest(changed, shelf.vectors, count=1)[:, 0]
    return float((first == np.arange(shelf.judged)).mean())


def _seen_anew(shelf: _Shelf, index: int, rng: np.random.Generator) -> Pixels:
    photo = shelf.photos[index]
    image = read_image(photo.path)
    if photo.mask is not None:
        other = shelf.photos[int(rng.integers(shelf.judged))]
        image = paste_onto(image, read_mask(photo.mask), wall(read_image(other.path), rng))
    return another_view(image, None, rng)[0]


def _viewed(shelf: _Shelf, index: int) -> bytes:
    rng = dice(shelf.photos[index].path.name, salt="view")
    return as_jpeg(_seen_anew(shelf, index, rng), quality=40)


def _filmed(shelf: _Shelf, index: int) -> bytes:
    rng = dice(shelf.photos[index].path.name, salt="still")
    return as_jpeg(film_still(_seen_anew(shelf, index, rng), rng), quality=40)
