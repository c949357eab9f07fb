"""The photos that every contender is shown: street photos of the data folder, or else rendered outfits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lookalike_service.wardrobe import choose_outfit, make_items, render_outfit
from support_stack import jpeg

__all__ = ["Photos", "load_photos", "resized"]

STREET = Path("street", "public_test", "images")


@dataclass(frozen=True, slots=True)
class Photos:
    """`shown` are searched with; `others` are of the same kind, and the catalog is made to look like them."""

    source: str
    shown: tuple[bytes, ...]
    others: tuple[bytes, ...]

    def to_json(self) -> dict[str, object]:
        """Where they come from and how large they are."""
        sides = [max(cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR).shape[:2]) for each in self.shown]
        kib = sum(map(len, self.shown)) / len(self.shown) / 1024
        return {"source": self.source, "shown": len(self.shown), "mean_kib": kib, "longest_sides": sorted(set(sides))}


def load_photos(data: Path, *, shown: int = 32, others: int = 32) -> Photos:
    """Take them evenly from the street photos below `data`, or draw as many."""
    paths = sorted((data / STREET).glob("*.jpg"))
    wanted = shown + others
    if len(paths) >= wanted:
        chosen = [paths[number * len(paths) // wanted].read_bytes() for number in range(wanted)]
        source = str(STREET)
    else:
        items = make_items(48, seed=11)
        chosen = [jpeg(render_outfit(choose_outfit(items, seed=seed), seed=seed).image) for seed in range(wanted)]
        source = "rendered outfits"
    # Neighbours alternate, so that both halves have the same mixture.
    order = chosen[::2] + chosen[1::2]
    return Photos(source, tuple(order[:shown]), tuple(order[shown:]))


def resized(photo: bytes, *, longest_side: int) -> bytes:
    """The same photo as a JPEG of another size."""
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    scale = longest_side / max(pixels.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=method)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
