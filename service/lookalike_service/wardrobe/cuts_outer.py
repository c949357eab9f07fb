"""Seeded cuts of jackets, coats and blazers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lookalike_service.wardrobe.cuts import Cut, between, pick, variant_of

__all__ = ["OUTER_CUTS"]


_KINDS = {
    "bomber": Cut(
        "bomber",
        "bomber jacket",
        length=61.0,
        neck_depth=5.0,
        collar="stand",
        closure="zip",
        pocket="welt",
        hem="rib",
        cuff="rib",
        gloss=0.12,
        drape=0.5,
    ),
    "denim jacket": Cut(
        "denim jacket",
        "denim jacket",
        material="denim",
        length=57.0,
        neck_depth=6.0,
        collar="shirt",
        closure="buttons",
        pocket="chests",
        hem="band",
        cuff="button",
        drape=0.4,
    ),
    "biker": Cut(
        "biker",
        "leather jacket",
        material="leather",
        length=57.0,
        neck_depth=9.0,
        collar="lapel",
        closure="zip",
        pocket="zips",
        hem="band",
        cuff="hem",
        drape=0.42,
    ),
    "puffer": Cut(
        "puffer",
        "puffer jacket",
        length=64.0,
        neck_depth=3.0,
        collar="funnel",
        closure="zip",
        pocket="welt",
        cuff="rib",
        puff=0.35,
        gloss=0.3,
        drape=0.2,
    ),
    "parka": Cut(
        "parka",
        "parka",
        length=85.0,
        neck_depth=6.5,
        collar="hood",
        closure="zip",
        pocket="flap",
        waist="cord",
        cuff="hem",
        drape=0.45,
    ),
    "trench": Cut(
        "trench",
        "trench coat",
        length=104.0,
        neck_depth=22.0,
        collar="lapel",
        closure="double",
        pocket="welt",
        waist="belt",
        cuff="strap",
        flare=0.004,
        drape=0.45,
    ),
    "coat": Cut(
        "coat",
        "wool coat",
        length=101.0,
        neck_depth=26.0,
        collar="lapel",
        closure="few",
        pocket="flap",
        cuff="hem",
        flare=0.002,
        drape=0.35,
    ),
}


def _outwear(random: np.random.Generator) -> Cut:
    cut = _KINDS[pick(random, *_KINDS)]
    vary = 8.0 if cut.length > 70 else 2.0
    return replace(
        cut,
        fit=between(random, 0.6, 0.95),
        length=cut.length + between(random, -vary, vary),
        sleeve=1.0,
        sleeve_width=between(random, 8.6, 9.8),
        neck_width=8.4,
        variant=variant_of(random),
    )


def _blazer(random: np.random.Generator) -> Cut:
    return Cut(
        "blazer",
        "blazer",
        fit=between(random, 0.25, 0.6),
        length=between(random, 66, 76),
        sleeve=1.0,
        sleeve_width=7.8,
        neck_width=8.0,
        neck_depth=between(random, 26, 34),
        collar="lapel",
        closure=pick(random, "few", "few", "double"),
        pocket="flap",
        cuff="buttons",
        drape=0.28,
        hem="round",
        variant=variant_of(random),
    )


OUTER_CUTS: dict[str, Callable[[np.random.Generator], Cut]] = {
    "outwear": _outwear,
    "blazer": _blazer,
}
