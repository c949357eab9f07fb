"""One door to sewing: an item and where it goes, out comes the sewn garment."""

from __future__ import annotations

from lookalike_service.wardrobe.arrays import chance
from lookalike_service.wardrobe.bags import sew_bag
from lookalike_service.wardrobe.bottoms import sew_legs
from lookalike_service.wardrobe.dresses import sew_dress
from lookalike_service.wardrobe.figure import Figure
from lookalike_service.wardrobe.hats import sew_hat
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.panels import Sewn
from lookalike_service.wardrobe.shoes import sew_shoes
from lookalike_service.wardrobe.skirts import sew_skirt
from lookalike_service.wardrobe.uppers import sew_upper

__all__ = ["sew_flat"]


def sew_flat(item: Item, figure: Figure, *, crease: int) -> Sewn:
    """The item lying flat or on a ghost mannequin; `crease` chooses how its folds fall."""
    random = chance(item.fabric_seed, crease, "creases")
    if item.category in ("top", "outer"):
        return sew_upper(figure, item.cut, random, outer=item.category == "outer")
    if item.category == "dress":
        return sew_dress(figure, item.cut, random)
    if item.category in ("pants", "shorts"):
        return sew_legs(figure, item.cut, random)
    if item.category == "skirt":
        return sew_skirt(figure, item.cut, random)
    if item.category == "shoes":
        return sew_shoes(figure.origin, figure.unit, item.cut)
    if item.category == "bag":
        return sew_bag(figure.origin, figure.unit, item.cut)
    return sew_hat(figure.origin, figure.unit, item.cut)
