"""The cloth of one item at one scale: tiles of its fabric that panels are cut from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Field, Image
from lookalike_service.wardrobe.fabric import fabric, surface

if TYPE_CHECKING:
    from lookalike_service.wardrobe.items import Item

__all__ = ["Cloth"]

_TOP = 12.0  # centimetres of the tile that lie above the pit of the neck
_GLOSS = {"leather": 0.5, "denim": 0.0, "knit": 0.0, "other": 0.05}


@dataclass(frozen=True, slots=True)
class Cloth:
    """Tiles in pixels at `unit` pixels per centimetre; `front` carries the print of a graphic item."""

    tile: Image
    front: Image
    unit: float
    colours: tuple[RGB, ...]
    material: str
    gloss: float

    @classmethod
    def of(cls, item: Item, unit: float) -> Cloth:
        """The cloth of `item`; the same design at every unit."""
        side = int(np.clip(64 * unit, 96, 520))
        size = (int(np.clip(150 * unit, 110, 620)), side)  # as long as a maxi dress
        plain = "solid" if item.pattern == "graphic" else item.pattern
        tile = fabric(plain, palette=item.rgb, scale=unit, seed=item.fabric_seed, size=size)
        front = tile
        if item.pattern == "graphic":
            place = (side / 2, (_TOP + item.cut.print_height) * unit, item.cut.print_side * unit)
            front = fabric("graphic", palette=item.rgb, scale=unit, seed=item.fabric_seed, size=size, print_at=place)
        if item.material != "other":
            relief = cv2.merge([surface(item.material, scale=unit, seed=item.fabric_seed, size=size)] * 3)
            embossed = np.asarray(cv2.multiply(tile, relief, dtype=cv2.CV_8U), dtype=np.uint8)
            front = (
                embossed if front is tile else np.asarray(cv2.multiply(front, relief, dtype=cv2.CV_8U), dtype=np.uint8)
            )
            tile = embossed
        return cls(tile, front, unit, item.rgb, item.material, _GLOSS[item.material] + item.cut.gloss)

    def sample(self, style: str, u: Field, v: Field) -> Field:
        """Colours (h, w, 3) float32 for centimetres u, v on the cloth."""
        tile = self.front if style == "front" else self.tile
        x = u * np.float32(self.unit) + np.float32(tile.shape[1] / 2)
        y = (v + np.float32(_TOP)) * np.float32(self.unit)
        if self.material == "knit" or style in ("cloth", "front", "lining"):
            found = cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            colours = found.astype(np.float32)
        else:
            colours = np.empty((*x.shape, 3), dtype=np.float32)
        if style == "rib":
            colours[:] = self.tone(0)
            colours *= (1.0 + 0.07 * np.sin(u * np.float32(2 * np.pi / 0.55)))[..., None]
        elif style == "trim":
            colours[:] = self.tone(1)
        elif style == "lining":
            colours = colours * np.float32(0.45) + np.array(self.tone(0), np.float32) * np.float32(0.35)
        return np.asarray(colours, dtype=np.float32)

    def tone(self, index: int) -> RGB:
        """The main colour (0) or the trim colour (1, the main colour again where an item has only one)."""
        return self.colours[min(index, len(self.colours) - 1)]
