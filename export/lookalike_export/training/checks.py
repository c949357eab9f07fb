"""A look at the whole training set before a training begins, instead of a crash in its last epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from lookalike_export.stages.vocabulary import CATEGORIES, GARMENTS, categories_of
from lookalike_export.training.photos import DataError, ItemPhoto, StreetPhoto, load_items, load_street

__all__ = ["check_data"]

_WITH_LANDMARKS = ("top", "outer", "dress", "pants", "shorts", "skirt")
_ITEM_LABELS = CATEGORIES[:17]
"""The first entries of CATEGORIES are the home photos' own labels."""


def check_data(data: Path, stage: str) -> None:
    """Raise DataError, which names the file, unless a stage can be trained and judged on what `data` holds.

    Layout, every photo (decoded once), and at least one sample of every class in `train`.
    """
    if not data.is_dir():
        raise DataError(f"{data} is not a folder; DATA must point at one with street/ and items/ (docs/models.md)")
    for split in ("train", "public_test"):
        street = load_street(data, split)
        file = data / "street" / split / "coco.json"
        _check_garments(street, file)
        _check_photos([(p.path, (p.width, p.height)) for p in street])
        if split == "train":
            _check_classes(file, *_street_classes(street, stage))
        if stage == "keypoints" or (stage == "segment" and split == "public_test"):
            continue
        items = load_items(data, split)
        _check_photos([(item.path, None) for item in items])
        if split == "train" and stage == "embed":
            _check_classes(data / "items" / split / "labels.json", _item_classes(items), _ITEM_LABELS)


def _street_classes(street: Sequence[StreetPhoto], stage: str) -> tuple[set[str], Sequence[str]]:
    garments = [g for p in street for g in p.garments]
    if stage == "keypoints":
        return {GARMENTS[g.garment] for g in garments if g.keypoints is not None}, _WITH_LANDMARKS
    return {GARMENTS[g.garment] for g in garments}, GARMENTS


def _item_classes(items: Sequence[ItemPhoto]) -> set[str]:
    return {CATEGORIES[categories_of(item.garment, item.label, exact=True)[0]] for item in items}


def _check_classes(file: Path, found: set[str], wanted: Iterable[str]) -> None:
    if missing := [name for name in wanted if name not in found]:
        raise DataError(
            f"{file} has no sample of {', '.join(missing)}, and what is never seen is never learnt; "
            "add photos of it, or take the class out of stages/vocabulary.py"
        )


def _check_garments(street: Sequence[StreetPhoto], file: Path) -> None:
    for photo in street:
        for garment in photo.garments:
            if not 0 <= garment.garment < len(GARMENTS):
                number = garment.garment + 1
                raise DataError(f"{file}: category_id {number} on {photo.path.name}; garments are 1 to {len(GARMENTS)}")


def _check_photos(photos: Sequence[tuple[Path, tuple[int, int] | None]]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(_check_photo, photos):
            pass


def _check_photo(photo: tuple[Path, tuple[int, int] | None]) -> None:
    """Decode to the end: OpenCV, which reads photos while training, fills what a cut file lacks with grey."""
    path, size = photo
    try:
        with Image.open(path) as image:
            image.load()
            found = image.size
    except FileNotFoundError:
        raise DataError(f"{path} is missing, though the labels name it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is damaged or is no image: {error}") from error
    if size is not None and found != size:
        raise DataError(f"{path} is {found[0]} x {found[1]} pixels, but its coco.json says {size[0]} x {size[1]}")
