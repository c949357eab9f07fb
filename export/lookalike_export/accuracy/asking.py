"""Asking the served ensemble about many photos, and what the figures share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.training.photos import Pixels, StreetGarment, StreetPhoto
from lookalike_service.model import Box

__all__ = ["MOST", "Figures", "Vectors", "as_jpeg", "each", "mean_by", "nearest", "region_of"]

MOST = 16
"""Garments that one request may ask for."""

_AT_ONCE = 4

Figures = dict[str, Any]
Vectors = npt.NDArray[np.float32]
T = TypeVar("T")
R = TypeVar("R")


async def each(values: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Run `work` on every value, a few at once, and keep the order."""
    permits = asyncio.Semaphore(_AT_ONCE)

    async def one(value: T) -> R:
        async with permits:
            return await work(value)

    return list(await asyncio.gather(*(one(v) for v in values)))


def nearest(queries: Vectors, gallery: Vectors, *, count: int, but: Sequence[int] = ()) -> npt.NDArray[np.int64]:
    """Rows of `gallery` (m, d) nearest to each of `queries` (n, d), best first, (n, count); never row `but[i]`."""
    similar = queries @ gallery.T
    if but:
        similar[np.arange(len(queries)), list(but)] = -2
    return np.argsort(-similar, axis=1)[:, :count]


def region_of(garment: StreetGarment, photo: StreetPhoto) -> Box:
    """The true box, 0..1."""
    x, y, w, h = garment.box
    return Box(x / photo.width, y / photo.height, min((x + w) / photo.width, 1.0), min((y + h) / photo.height, 1.0))


def mean_by(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of the values of each name, in order of the names."""
    groups: dict[str, list[float]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return {name: float(np.mean(groups[name])) for name in sorted(groups)}


def as_jpeg(image: Pixels, *, quality: int = 92) -> bytes:
    """Encode an RGB image."""
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return coded.tobytes()
