"""Rendered garments: another view of the same item among many that differ only in colour or pattern."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lookalike_export.accuracy.asking import Figures, each, nearest
from lookalike_export.training.rendered import rendered_items
from lookalike_service.model import Garment, GarmentFinder

__all__ = ["wardrobe"]

_SEED = 7  # training draws other collections
_GALLERY, _QUERIES = 2000, 500


async def wardrobe(finder: GarmentFinder, *, cache: Path) -> Figures:
    """The second view of every fourth item must find the first view of that item among all 2,000."""
    wanted = range(0, _GALLERY, _GALLERY // _QUERIES)
    drawn = rendered_items(cache / "wardrobe", count=_GALLERY, views=1, seed=_SEED)
    again = rendered_items(cache / "wardrobe", count=_GALLERY, views=1, first=1, seed=_SEED, only=wanted)
    gallery = await each([views[0].path for views in drawn], partial(_surest, finder))
    queries = await each([views[0].path for views in again], partial(_surest, finder))
    near = nearest(_vectors(queries), _vectors(gallery), count=1)[:, 0]
    return {"retrieval_rendered_r1": float((near == np.array(wanted)).mean())}


async def _surest(finder: GarmentFinder, path: Path) -> Garment:
    return (await finder.find(path.read_bytes(), max_garments=1)).garments[0]


def _vectors(garments: list[Garment]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.stack([g.embedding for g in garments])
