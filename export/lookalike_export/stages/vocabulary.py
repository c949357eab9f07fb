"""What the heads of the embed stage can say, and how the training sets' labels map onto it."""

from __future__ import annotations

from lookalike_service.wardrobe.palette import PALETTE

__all__ = [
    "ACCESSORIES",
    "CATEGORIES",
    "COLOURS",
    "GARMENTS",
    "MAIN",
    "MATERIALS",
    "PATTERNS",
    "categories_of",
    "material_of",
]

GARMENTS = (
    "top",
    "outer",
    "dress",
    "pants",
    "shorts",
    "skirt",
    "shoes",
    "bag",
    "hat",
    "belt",
    "scarf_tie",
    "eyewear",
    "legwear",
    "accessory",
)
"""The classes of the detect stage, in the order of its `classes` output."""

MAIN = ("top", "outer", "dress", "pants", "skirt", "shoes", "bag")
ACCESSORIES = ("hat", "belt", "scarf_tie", "eyewear", "legwear", "accessory")
"""The classes that the figures are means over."""

CATEGORIES = (
    "top/t-shirt",
    "top/longsleeve",
    "top/shirt",
    "top/polo",
    "top/blouse",
    "top/undershirt",
    "top/body",
    "top/top",
    "top/hoodie",
    "outer/outwear",
    "outer/blazer",
    "dress",
    "pants",
    "shorts",
    "skirt",
    "shoes",
    "hat",
    "bag",
    "belt",
    "scarf_tie",
    "eyewear",
    "legwear",
    "accessory",
)
"""Coarse class, and the finer label where the home photos have one."""

PATTERNS = ("solid", "striped", "checked", "dotted", "floral", "graphic")
MATERIALS = ("denim", "knit", "leather", "other")

COLOURS = dict(PALETTE)
"""The sixteen named colours, sRGB."""

_KNIT = {"sweater", "cardigan", "jumper", "sweatshirt", "hoodie"}
_LEATHER = {"shoes", "boots", "loafers", "pumps", "heels", "flats", "purse", "wallet", "belt", "wedges", "clogs", "bag"}
_OTHER = {
    "t-shirt",
    "blouse",
    "shirt",
    "dress",
    "skirt",
    "shorts",
    "longsleeve",
    "polo",
    "undershirt",
    "body",
    "top",
    "romper",
}
_SAME = {"t-shirt", "shirt", "blouse", "hoodie", "blazer", "body", "outwear"}
_SPELLED = {"bodysuit": "body", "coat": "outwear", "jacket": "outwear", "cape": "outwear"}


def categories_of(garment: int, label: str, *, exact: bool) -> list[int]:
    """Indices into CATEGORIES that a training label allows; several where it only tells the coarse class.

    `exact` says that the label set is the home photos' own; street labels are trusted only where both sets mean
    the same by a word.
    """
    coarse = GARMENTS[garment]
    fine = _SPELLED.get(label, label)
    name = f"{coarse}/{fine}"
    if name in CATEGORIES and (exact or fine in _SAME):
        return [CATEGORIES.index(name)]
    return [i for i, known in enumerate(CATEGORIES) if known.split("/")[0] == coarse]


def material_of(label: str) -> int:
    """Index into MATERIALS by weak rule ("jeans" are denim, a "cardigan" is knit); -1 where a label does not tell."""
    if label == "jeans":
        return 0
    if label in _KNIT:
        return 1
    if label in _LEATHER:
        return 2
    return 3 if label in _OTHER else -1
