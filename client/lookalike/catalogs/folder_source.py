"""Folders of images as catalogs: one product per image."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from lookalike.catalogs.jsonl_source import JsonlFailures
from lookalike.catalogs.sources import FailureWriter

__all__ = ["IMAGE_ENDINGS", "FolderSource", "images_in"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
LONGEST_ID = 128
CATEGORY_WORDS = {
    "top": "top tops shirt shirts blouse blouses t-shirt t-shirts tshirt tshirts tee tees sweater sweaters pullover "
    "pullovers hoodie hoodies polo polos knitwear",
    "outer": "outer outerwear coat coats jacket jackets blazer blazers vest vests cardigan cardigans",
    "dress": "dress dresses gown gowns",
    "pants": "pants trousers jeans chinos leggings",
    "shorts": "shorts",
    "skirt": "skirt skirts",
    "shoes": "shoes shoe boots sneakers sandals heels footwear",
    "bag": "bag bags handbag handbags backpack backpacks purse purses",
    "hat": "hat hats cap caps beanie beanies",
    "belt": "belt belts",
    "scarf_tie": "scarf scarves tie ties",
    "eyewear": "eyewear glasses sunglasses",
    "legwear": "legwear socks tights stockings",
    "accessory": "accessory accessories jewelry jewellery watch watches gloves",
}
CATEGORY_OF = {word: category for category, words in CATEGORY_WORDS.items() for word in words.split()}


def images_in(folder: Path) -> list[str]:
    """The paths of the folder's images, relative to it, hidden ones left out."""
    return shown(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def shown(paths: Iterable[str]) -> list[str]:
    """Of relative paths those that name an image and are not hidden, in order."""
    return sorted(
        path
        for path in paths
        if PurePosixPath(path).suffix.lower() in IMAGE_ENDINGS
        and not any(part.startswith(".") for part in path.split("/"))
    )


class FolderSource:
    """A folder; a row is the path of an image. `category` wins over what subfolders are called."""

    suffix = ".jsonl"

    def __init__(self, images: list[str], *, category: str) -> None:
        self._images = images
        self._category = category
        self._uses = Counter(map(_id_of, images))

    def count(self) -> int:
        """How many images there are."""
        return len(self._images)

    def raws(self) -> Iterator[tuple[int, str]]:
        """The images in the order of their paths, counted from 1."""
        return enumerate(self._images, start=1)

    def record(self, raw: str) -> dict[str, object]:
        """Id, title and category from the path."""
        product_id = _id_of(raw)
        if self._uses[product_id] > 1 or len(product_id) > LONGEST_ID:
            digest = hashlib.sha256(raw.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            product_id = f"{product_id[: LONGEST_ID - 9]}-{digest}"
        return {
            "id": product_id,
            "title": " ".join(re.split(r"[-_\s]+", PurePosixPath(raw).stem)).strip(),
            "category": self._category or _category_of(raw),
            "image": raw,
        }

    def failures(self, path: Path, *, relocate: Callable[[str], str]) -> FailureWriter:
        """A file of JSON lines, each with the id and the category that the folder gave."""
        return JsonlFailures(path, record=self.record, relocate=relocate)


def _id_of(image: str) -> str:
    return re.sub(r"[^A-Za-z0-9._~-]", "-", str(PurePosixPath(image).with_suffix("")))


def _category_of(image: str) -> str:
    for name in reversed(image.split("/")[:-1]):
        category = CATEGORY_OF.get(name.lower().replace(" ", "-"))
        if category:
            return category
    return ""
