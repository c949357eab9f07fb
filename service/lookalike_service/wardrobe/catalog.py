"""Writing the wardrobe to disk: a catalog of products with their photos, and outfit photos with their truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import Image, chance
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.outfits import render_outfit
from lookalike_service.wardrobe.panels import LANDMARKS
from lookalike_service.wardrobe.photos import DrawnGarment, Photo
from lookalike_service.wardrobe.shop import render_item

__all__ = ["choose_outfit", "product", "write_catalog", "write_outfits"]

Progress = Callable[[int, int], None]


def product(item: Item, images: Sequence[str]) -> dict[str, object]:
    """The line of products.jsonl about an item whose photos are `images` (paths relative to the file)."""
    return {
        "id": item.id,
        "title": item.title,
        "brand": item.brand,
        "category": item.category,
        "price": {"minor_units": item.price, "currency": item.currency},
        "available": True,
        "uri": f"https://shop.example/products/{item.id}",
        "attributes": {
            "label": item.label,
            "pattern": item.pattern,
            "colour": item.colours[0],
            "material": item.material,
            "family": item.family,
        },
        "images": list(images),
    }


def write_catalog(
    folder: Path | str,
    *,
    items: Sequence[Item],
    views: Sequence[int] = (0, 1),
    size: int = 480,
    progress: Progress | None = None,
) -> Path:
    """Render the items into `folder`/images and write `folder`/products.jsonl; returns the path of the latter.

    `progress` is called with the number of finished products and of all. Raises OSError when the folder cannot be
    written.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with _one_thread():
        lines = _write_products(folder, items, views, size, progress)
    target = folder / "products.jsonl"
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return target


@contextmanager
def _one_thread() -> Iterator[None]:
    """Panels are too small to share between threads: beside a busy server OpenCV's pool costs more than it gives."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _write_products(
    folder: Path, items: Sequence[Item], views: Sequence[int], size: int, progress: Progress | None
) -> list[str]:
    lines = []
    for done, item in enumerate(items, start=1):
        names = []
        for view in views:
            name = f"images/{item.id}-{view}.jpg"
            _write_jpeg(folder / name, render_item(item, view=view, size=size).image)
            names.append(name)
        lines.append(json.dumps(product(item, names), ensure_ascii=False))
        if progress is not None:
            progress(done, len(items))
    return lines


def choose_outfit(items: Sequence[Item], *, seed: int) -> list[Item]:
    """Items of `items` that can be worn together, from seeded chance.

    Raises ValueError where they hold no outfit.
    """
    random = chance(seed, "choose")
    by_category: dict[str, list[Item]] = {}
    for item in items:
        by_category.setdefault(item.category, []).append(item)
    lower = [name for name in ("pants", "skirt", "shorts") if name in by_category]
    whole = "dress" in by_category and (random.random() < 0.28 or "top" not in by_category or not lower)
    if not whole and ("top" not in by_category or not lower):
        raise ValueError("No outfit can be made: the items need a dress, or a top and pants, shorts or a skirt.")
    wanted = ["dress"] if whole else ["top", lower[int(random.integers(len(lower)))]]
    shares = {"outer": 0.38, "shoes": 0.96, "bag": 0.6, "hat": 0.32}
    wanted += [name for name, share in shares.items() if name in by_category and random.random() < share]
    return [by_category[name][int(random.integers(len(by_category[name])))] for name in wanted]


def write_outfits(folder: Path | str, *, items: Sequence[Item], count: int, seed: int = 0) -> list[Path]:
    """Render `count` outfits made of `items`; returns the photos' paths.

    Beside every `outfit-NNN.jpg` lies `outfit-NNN.json` with size, and per garment the product id, category, label,
    colours, pattern, material, box, landmarks and the area of its mask as a share of the photo.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        number = seed * 100003 + index
        with _one_thread():
            photo = render_outfit(choose_outfit(items, seed=number), seed=number)
        path = folder / f"outfit-{index:03d}.jpg"
        _write_jpeg(path, photo.image)
        path.with_suffix(".json").write_text(json.dumps(_truth(photo), indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _truth(photo: Photo) -> dict[str, object]:
    height, width = photo.image.shape[:2]
    return {
        "width": width,
        "height": height,
        "landmark_order": list(LANDMARKS),
        "garments": [_garment(g) for g in photo.garments],
    }


def _garment(garment: DrawnGarment) -> dict[str, object]:
    item = garment.item
    return {
        "id": item.id,
        "category": item.category,
        "label": item.label,
        "colours": list(item.colours),
        "pattern": item.pattern,
        "material": item.material,
        "box": [round(c, 5) for c in garment.box],
        "landmarks": [[round(float(c), 5) for c in row] for row in garment.landmarks],
        "mask_share": round(float(np.count_nonzero(garment.mask)) / garment.mask.size, 6),
    }


def _write_jpeg(path: Path, image: Image) -> None:
    # Without subsampling: fine stripes of two colours would otherwise run into each other.
    options = [cv2.IMWRITE_JPEG_QUALITY, 91]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise OSError(f"Cannot encode {path.name} as JPEG.")
    path.write_bytes(data.tobytes())
