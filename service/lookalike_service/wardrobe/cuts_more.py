"""Seeded cuts of dresses, legwear, skirts and accessories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lookalike_service.wardrobe.cuts import Cut, between, pick, variant_of

__all__ = ["MORE_CUTS"]


def _dress(random: np.random.Generator) -> Cut:
    kind = pick(random, "slip", "flared", "shift", "shirt", "maxi", "wrap", "knit")
    fit, length, flare, flutes = {
        "slip": (0.1, 108.0, 0.0035, 5),
        "flared": (0.05, 92.0, 0.021, 11),
        "shift": (0.6, 84.0, 0.003, 4),
        "shirt": (0.35, 98.0, 0.008, 6),
        "maxi": (0.15, 138.0, 0.011, 11),
        "wrap": (0.15, 100.0, 0.01, 8),
        "knit": (0.0, 92.0, 0.0, 0),
    }[kind]
    sleeve = {"slip": 0.0, "shirt": 0.95, "knit": 1.0}.get(kind, float(random.choice([0.0, 0.3, 0.42, 0.7])))
    neckline = {"slip": "v", "wrap": "v", "shirt": "crew", "knit": "crew"}.get(
        kind, pick(random, "crew", "scoop", "boat", "v")
    )
    depth = {"v": 15.0, "scoop": 9.0, "boat": 2.6, "crew": 4.5}[neckline]
    return Cut(
        kind,
        {"knit": "knit dress", "shirt": "shirt dress"}.get(kind, f"{kind} dress"),
        "knit" if kind == "knit" else "other",
        fit=fit,
        length=length + between(random, -6, 6),
        sleeve=sleeve,
        sleeve_width=between(random, 6.4, 8.0),
        neckline=neckline,
        neck_width=11.0 if neckline == "boat" else 8.4,
        neck_depth=depth,
        strap=(1.0 if kind in ("slip", "maxi") else 5.5) if sleeve == 0 else 0.0,
        collar={"shirt": "shirt", "knit": "turtle"}.get(kind, "binding"),
        closure="buttons" if kind == "shirt" else "none",
        waist={"flared": "seam", "shirt": "belt", "wrap": "tie", "maxi": "elastic"}.get(kind, "none"),
        flare=flare,
        flutes=flutes,
        cuff={"shirt": "button", "knit": "rib"}.get(kind, "hem"),
        gloss=0.2 if kind == "slip" else 0.04,
        drape=0.34,
        variant=variant_of(random),
    )


def _pants(random: np.random.Generator) -> Cut:
    kind = pick(
        random, "skinny jeans", "straight jeans", "chinos", "wide trousers", "joggers", "leggings", "tailored trousers"
    )
    width = {
        "skinny jeans": 5.0,
        "straight jeans": 8.4,
        "chinos": 7.2,
        "wide trousers": 13.0,
        "joggers": 6.4,
        "leggings": 4.4,
    }.get(kind, 7.4)
    jeans = "jeans" in kind
    return Cut(
        kind,
        kind,
        "denim" if jeans else "other",
        fit={"skinny jeans": 0.1, "leggings": 0.0, "joggers": 0.7}.get(kind, 0.45),
        length=between(random, 0.93, 1.04),
        width=width + between(random, -0.4, 0.6),
        flare=4.0 if kind == "wide trousers" else 0.0,
        waist={"joggers": "cord", "leggings": "elastic"}.get(kind, "band"),
        closure="none" if kind in ("joggers", "leggings") else "fly",
        pocket={"joggers": "slant", "leggings": "none", "chinos": "slant"}.get(kind, "jeans" if jeans else "slant"),
        cuff={
            "joggers": "rib",
            "chinos": pick(random, "hem", "fold"),
            "straight jeans": pick(random, "hem", "fold"),
        }.get(kind, "hem"),
        pleats=kind in ("tailored trousers", "wide trousers"),
        drape=0.34,
        variant=variant_of(random),
    )


def _shorts(random: np.random.Generator) -> Cut:
    kind = pick(random, "denim shorts", "chino shorts", "running shorts", "bermuda shorts", "paperbag shorts")
    length = {"denim shorts": 0.18, "running shorts": 0.2, "bermuda shorts": 0.44, "paperbag shorts": 0.22}.get(
        kind, 0.32
    )
    return Cut(
        kind,
        kind,
        "denim" if kind == "denim shorts" else "other",
        fit=0.5,
        length=length + between(random, 0, 0.06),
        width=between(random, 10.6, 12.4),
        flare=2.5 if kind in ("running shorts", "paperbag shorts") else 0.6,
        waist={"running shorts": "cord", "paperbag shorts": "paperbag"}.get(kind, "band"),
        closure="none" if kind in ("running shorts", "paperbag shorts") else "fly",
        pocket="jeans" if kind == "denim shorts" else "slant",
        cuff="fold" if kind in ("denim shorts", "bermuda shorts") else "hem",
        drape=0.36,
        variant=variant_of(random),
    )


def _skirt(random: np.random.Generator) -> Cut:
    kind = pick(random, "pencil", "A-line", "pleated", "circle", "maxi", "denim", "leather")
    length, flare, flutes = {
        "pencil": (56.0, -0.001, 0),
        "A-line": (44.0, 0.012, 4),
        "pleated": (64.0, 0.012, 25),
        "circle": (50.0, 0.026, 11),
        "maxi": (94.0, 0.008, 9),
        "denim": (38.0, 0.007, 0),
        "leather": (42.0, 0.004, 0),
    }[kind]
    return Cut(
        kind,
        f"{kind} skirt",
        {"denim": "denim", "leather": "leather"}.get(kind, "other"),
        length=length + between(random, -4, 5),
        fit=0.1,
        flare=flare,
        flutes=flutes,
        pleats=kind == "pleated",
        waist="elastic" if kind in ("pleated", "maxi") else "band",
        closure={"denim": "buttons", "leather": "zip"}.get(kind, "none"),
        pocket="jeans" if kind == "denim" else "none",
        drape=0.34,
        gloss=0.12 if kind == "pleated" else 0.0,
        variant=variant_of(random),
    )


def _shoes(random: np.random.Generator) -> Cut:
    kind = pick(
        random, "sneakers", "high-top sneakers", "ankle boots", "pumps", "loafers", "tall boots", "ballet flats"
    )
    material = {"sneakers": pick(random, "other", "leather"), "high-top sneakers": "other"}.get(kind, "leather")
    return Cut(kind, kind, material, gloss=0.0, variant=variant_of(random))


def _bag(random: np.random.Generator) -> Cut:
    kind = pick(random, "tote", "handbag", "crossbody", "backpack", "bucket bag", "clutch")
    material = {"tote": pick(random, "other", "leather"), "backpack": pick(random, "other", "leather")}.get(
        kind, "leather"
    )
    return Cut(
        kind,
        {"tote": "tote bag", "crossbody": "crossbody bag"}.get(kind, kind),
        material,
        width=between(random, 0.9, 1.12),
        length=between(random, 0.9, 1.1),
        variant=variant_of(random),
    )


def _hat(random: np.random.Generator) -> Cut:
    kind = pick(random, "wide-brim", "fedora", "bucket", "beanie", "cap")
    title = {"wide-brim": "wide-brim hat", "bucket": "bucket hat", "cap": "baseball cap"}.get(kind, kind)
    return Cut(
        kind,
        title,
        "knit" if kind == "beanie" else "other",
        width=between(random, 0.92, 1.1),
        variant=variant_of(random),
    )


MORE_CUTS: dict[str, Callable[[np.random.Generator], Cut]] = {
    "dress": _dress,
    "pants": _pants,
    "shorts": _shorts,
    "skirt": _skirt,
    "shoes": _shoes,
    "bag": _bag,
    "hat": _hat,
}
