"""How a garment is cut: its shape parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cut", "between", "pick", "variant_of"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The shape of a garment; lengths in centimetres, shares 0..1.

    `name` is the kind within its label ("bomber", "sneaker") and `title` what a shop calls it. `fit` 0 hugs the
    body, 1 is boxy. `length` is the hem's height below the pit of the neck for upper garments and dresses, below
    the waist for skirts, and the share of the leg for pants and shorts. `sleeve` is the share of the arm.
    """

    name: str
    title: str
    material: str = "other"
    fit: float = 0.4
    length: float = 60.0
    sleeve: float = 0.0
    sleeve_width: float = 7.0
    neckline: str = "crew"
    neck_width: float = 8.0
    neck_depth: float = 4.0
    strap: float = 0.0
    collar: str = "none"
    closure: str = "none"
    pocket: str = "none"
    hem: str = "straight"
    cuff: str = "none"
    waist: str = "none"
    flare: float = 0.0
    flutes: int = 0
    pleats: bool = False
    width: float = 8.0
    puff: float = 0.0
    gloss: float = 0.0
    drape: float = 0.32
    print_height: float = 19.0
    print_side: float = 19.0
    variant: int = 0


def pick(random: np.random.Generator, *options: str) -> str:
    """One of the options."""
    return options[int(random.integers(len(options)))]


def between(random: np.random.Generator, low: float, high: float) -> float:
    """A length or share between two bounds, to the hundredth."""
    return round(float(random.uniform(low, high)), 2)


def variant_of(random: np.random.Generator) -> int:
    """A number that decides small things, such as a pompom."""
    return int(random.integers(1 << 20))
