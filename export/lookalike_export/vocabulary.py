"""What the heads of the embed stage can say, and how the training sets' labels map onto it."""

from __future__ import annotations

from lookalike_export.photos import GARMENTS

__all__ = ["CATEGORIES", "COLOURS", "MATERIALS", "PATTERNS", "categories_of", "material_of"]

CATEGORIES = (
    "top/t-shirt", "top/longsleeve", "top/shirt", "top/polo", "top/blouse", "top/undershirt", "top/body", "top/top", "top/hoodie",
    "outer/outwear", "outer/blazer", "dress", "pants", "shorts", "skirt", "shoes", "hat",
    "bag", "belt", "scarf_tie", "eyewear", "legwear", "accessory",
)  # fmt: skip
"""Coarse class, and the finer label where the home photos have one."""

PATTERNS = ("solid", "striped", "checked", "dotted", "floral", "graphic")
MATERIALS = ("denim", "knit", "leather", "other")

COLOURS = {
    "black": (22, 22, 24), "white": (245, 245, 243), "grey": (136, 138, 140), "beige": (216, 199, 170), "brown": (104, 70, 46),
    "red": (200, 30, 40), "pink": (238, 150, 180), "orange": (236, 120, 32), "yellow": (244, 206, 66), "green": (48, 140, 68),
    "olive": (104, 106, 52), "teal": (32, 132, 136), "blue": (58, 116, 200), "navy": (28, 38, 78), "purple": (112, 62, 146),
    "burgundy": (106, 24, 44),
}  # fmt: skip
"""The sixteen named colours, sRGB."""

_KNIT = {"sweater", "cardigan", "jumper", "sweatshirt", "hoodie"}
_LEATHER = {"shoes", "boots", "loafers", "pumps", "heels", "flats", "purse", "wallet", "belt", "wedges", "clogs", "bag"}
_OTHER = {"t-shirt", "blouse", "shirt", "dress", "skirt", "shorts", "longsleeve", "polo", "undershirt", "body", "top", "romper"}
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
    """Index into MATERIALS by weak rule from a label ("jeans" are denim, a "cardigan" is knit); -1 where the label does not tell."""
    if label == "jeans":
        return 0
    if label in _KNIT:
        return 1
    if label in _LEATHER:
        return 2
    return 3 if label in _OTHER else -1
