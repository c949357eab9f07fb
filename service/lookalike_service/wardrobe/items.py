"""The items of the wardrobe: what each one is, and the seeded choice of a whole collection."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, chance
from lookalike_service.wardrobe.choosing import choose_cut
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.fabric import PATTERNS
from lookalike_service.wardrobe.palette import PALETTE, colour_near

__all__ = ["CATEGORIES", "LABELS", "Item", "make_items"]

CATEGORIES = ("top", "outer", "dress", "pants", "shorts", "skirt", "shoes", "bag", "hat")
TOP_LABELS = ("t-shirt", "longsleeve", "shirt", "hoodie", "blouse", "polo", "top", "undershirt", "body")
OUTER_LABELS = ("outwear", "blazer")
LABELS = (*TOP_LABELS, *OUTER_LABELS, *(name for name in CATEGORIES if name not in ("top", "outer")))
FAMILY = 3
"""How many members of a family differ in nothing but colour, or in nothing but pattern."""

_BRANDS = (
    "Alder & Moon", "Brightside", "Casa Lino", "Dune Atelier", "Ember", "Fjordwear", "Gilda", "Halcyon",
    "Indigo Row", "Juniper", "Kite & Co", "Linden", "Maren", "Norrby", "Ostra", "Pico",
)  # fmt: skip
_NEUTRAL = ("black", "white", "grey", "beige", "navy", "brown")
_DENIM = ("blue", "navy", "black", "white", "grey")
_LEATHER = ("black", "brown", "beige", "white", "burgundy", "navy", "red", "green", "olive")
_PRICES = {
    "top": (1290, 7990), "outer": (5990, 24990), "dress": (3490, 15990), "pants": (2990, 11990), "shorts": (1990, 5990),
    "skirt": (2490, 8990), "shoes": (3990, 19990), "bag": (2990, 21990), "hat": (1290, 4990),
}  # fmt: skip
_WORDS = {
    "solid": "", "striped": "Striped ", "checked": "Checked ", "dotted": "Dotted ", "floral": "Floral ",
    "graphic": "Printed ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One product of the rendered shop.

    `colours` are palette names, the main colour first, and `rgb` their exact values. `price` is in minor units of
    `currency`. Items of one `family` share `cut` and differ in nothing but `trait` (colour or pattern).
    """

    id: str
    category: str
    label: str
    title: str
    brand: str
    price: int
    currency: str
    colours: tuple[str, ...]
    rgb: tuple[RGB, ...]
    pattern: str
    material: str
    family: str
    trait: str
    cut: Cut
    fabric_seed: int


def make_items(count: int, *, seed: int = 0) -> list[Item]:
    """The first `count` items of the collection of `seed`, categories in turn.

    A longer collection begins with the shorter one. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"Cannot make {count} items: the count must be 0 or more.")
    members: dict[tuple[str, int], list[Item]] = {}
    items = []
    for index in range(count):
        category = CATEGORIES[index % len(CATEGORIES)]
        place = index // len(CATEGORIES)
        key = (category, place // FAMILY)
        if key not in members:
            members[key] = _family(category, key[1], seed)
        items.append(replace(members[key][place % FAMILY], id=f"{category}-{index:04d}"))
    return items


def _family(category: str, number: int, seed: int) -> list[Item]:
    random = chance(seed, category, number)
    label = _label(category, number, seed)
    cut = choose_cut(label, random)
    material = cut.material
    patterns = _patterns(label, material, cut.name)
    trait = "pattern" if number % 2 and len(patterns) >= FAMILY else "colour"
    dyes = _DENIM if material == "denim" else _LEATHER if material == "leather" else tuple(PALETTE)
    mains = [str(name) for name in random.choice(dyes, FAMILY, replace=False)]
    weights = np.array([3.0 if name == "solid" else 1.0 for name in patterns])
    drawn = [
        str(name)
        for name in random.choice(patterns, min(FAMILY, len(patterns)), replace=False, p=weights / weights.sum())
    ]
    choices = [(main, drawn[0]) for main in mains] if trait == "colour" else [(mains[0], pattern) for pattern in drawn]
    others = _others(random)
    price = int(random.integers(*_PRICES[category])) // 500 * 500 + 490
    brand = _BRANDS[int(random.integers(len(_BRANDS)))]
    fabric_seed = int(random.integers(1 << 30))
    dye_seed = int(random.integers(1 << 30))
    made = []
    for main, pattern in choices:
        names, rgb = _dyes(main, others, pattern, dye_seed)
        title = f"{_WORDS[pattern]}{main} {cut.title}"
        made.append(
            Item("", category, label, title[0].upper() + title[1:], brand, price, "EUR", names, rgb, pattern, material,
                 f"{category}-{seed}-{number}", trait, cut, fabric_seed)
        )  # fmt: skip
    return made


def _label(category: str, number: int, seed: int) -> str:
    options = {"top": TOP_LABELS, "outer": OUTER_LABELS}.get(category)
    if options is None:
        return category
    turn = chance(seed, category, number // len(options)).permutation(len(options))
    return options[int(turn[number % len(options)])]


def _patterns(label: str, material: str, name: str) -> tuple[str, ...]:
    if material in ("leather", "denim"):
        return ("solid",)
    if label in ("t-shirt", "longsleeve", "hoodie"):
        return PATTERNS
    if label == "shoes":
        return ("solid", "checked", "floral", "dotted")
    if label == "hat":
        return (
            ("solid", "striped", "checked", "dotted", "floral") if name in ("bucket", "cap") else ("solid", "striped")
        )
    if label in ("blazer", "outwear", "pants", "shorts"):
        return ("solid", "checked", "striped", "floral") if label != "outwear" else ("solid", "checked", "striped")
    return ("solid", "striped", "checked", "dotted", "floral")


def _others(random: np.random.Generator) -> list[str]:
    """Second and third colours in order of preference; the family shares them."""
    names = [str(name) for name in random.permutation(list(PALETTE))]
    return ["white" if random.random() < 0.45 else names[0], *names]


def _dyes(main: str, others: list[str], pattern: str, seed: int) -> tuple[tuple[str, ...], tuple[RGB, ...]]:
    names = [main]
    if pattern != "solid":
        base = np.array(PALETTE[main], dtype=float)
        for name in others:
            apart = np.abs(np.array(PALETTE[name], dtype=float) - base).sum()
            if name not in names and apart > 190 and len(names) < 3:
                names.append(name)
    rgb = tuple(colour_near(name, chance(seed, name)) for name in names)
    return tuple(names), rgb
