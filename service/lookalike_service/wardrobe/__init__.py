"""The rendered wardrobe: garments that Lookalike draws itself, with known boxes, masks, landmarks and colours.

Everything follows from seeds; nothing is downloaded and no model runs.

- `make_items(count, seed=0)`: a balanced collection of `Item`s; families of three differ only in colour or
  only in pattern.
- `render_item(item, view=0, size=480)`: a shop `Photo` of one item; view 0 on white, others elsewhere.
- `render_outfit(items, seed=0, size=(640, 960))`: a `Photo` of a person wearing several items.
- `fabric(pattern, palette=..., scale=4.0, seed=0, size=224)`, `surface(material, ...)`: procedural cloth.
- `write_catalog(folder, items=...)`, `write_outfits(folder, items=..., count=..., seed=0)`: the same as files.
- `PALETTE`: the sixteen colour names; `LANDMARKS`: the order of a garment's landmarks.
"""

from __future__ import annotations

from lookalike_service.wardrobe.catalog import choose_outfit, product, write_catalog, write_outfits
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.fabric import MATERIALS, PATTERNS, fabric, surface
from lookalike_service.wardrobe.items import CATEGORIES, LABELS, Item, make_items
from lookalike_service.wardrobe.outfits import render_outfit
from lookalike_service.wardrobe.palette import PALETTE, colour_near, name_of
from lookalike_service.wardrobe.panels import LANDMARKS
from lookalike_service.wardrobe.photos import DrawnGarment, Photo
from lookalike_service.wardrobe.shop import render_item

__all__ = [
    "CATEGORIES",
    "LABELS",
    "LANDMARKS",
    "MATERIALS",
    "PALETTE",
    "PATTERNS",
    "Cut",
    "DrawnGarment",
    "Item",
    "Photo",
    "choose_outfit",
    "colour_near",
    "fabric",
    "make_items",
    "name_of",
    "product",
    "render_item",
    "render_outfit",
    "surface",
    "write_catalog",
    "write_outfits",
]
