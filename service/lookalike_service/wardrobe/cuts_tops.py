"""Seeded cuts of tops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lookalike_service.wardrobe.cuts import Cut, between, pick, variant_of

__all__ = ["TOP_CUTS"]


def _t_shirt(random: np.random.Generator) -> Cut:
    neckline = pick(random, "crew", "crew", "v", "scoop")
    title = {"v": "V-neck T-shirt"}.get(neckline, "T-shirt")
    return Cut(
        "t-shirt",
        title,
        fit=between(random, 0.15, 0.9),
        length=between(random, 56, 68),
        sleeve=between(random, 0.3, 0.46),
        sleeve_width=between(random, 7.2, 9.2),
        neckline=neckline,
        neck_width=between(random, 7.2, 8.6),
        neck_depth={"v": 11.0, "scoop": 8.0}.get(neckline, 4.2),
        collar="rib",
        variant=variant_of(random),
    )


def _longsleeve(random: np.random.Generator) -> Cut:
    material = pick(random, "knit", "other")
    neckline = pick(random, "crew", "crew", "v", "turtle", "boat")
    noun = "sweater" if material == "knit" else "longsleeve"
    title = {"turtle": "turtleneck", "v": f"V-neck {noun}"}.get(neckline, noun)
    return Cut(
        "longsleeve",
        title,
        material,
        fit=between(random, 0.1, 0.8),
        length=between(random, 56, 66),
        sleeve=1.0,
        sleeve_width=between(random, 6.2, 8.2),
        neckline="crew" if neckline == "turtle" else neckline,
        neck_width=11.0 if neckline == "boat" else 7.8,
        neck_depth={"v": 12.0, "boat": 2.6}.get(neckline, 3.8),
        collar="turtle" if neckline == "turtle" else "rib",
        hem="rib" if material == "knit" else "straight",
        cuff="rib" if material == "knit" else "hem",
        drape=0.38,
        variant=variant_of(random),
    )


def _shirt(random: np.random.Generator) -> Cut:
    denim = random.random() < 0.2
    short = random.random() < 0.25
    return Cut(
        "shirt",
        "denim shirt" if denim else "short-sleeved shirt" if short else "shirt",
        "denim" if denim else "other",
        fit=between(random, 0.25, 0.8),
        length=between(random, 62, 72),
        sleeve=0.44 if short else 1.0,
        sleeve_width=between(random, 7.0, 8.6),
        neck_width=7.4,
        neck_depth=5.0,
        collar="shirt",
        closure="buttons",
        pocket=pick(random, "none", "chest", "chests"),
        hem=pick(random, "curved", "curved", "straight"),
        cuff="hem" if short else "button",
        variant=variant_of(random),
    )


def _polo(random: np.random.Generator) -> Cut:
    return Cut(
        "polo",
        "polo shirt",
        pick(random, "other", "other", "knit"),
        fit=between(random, 0.2, 0.6),
        length=between(random, 60, 67),
        sleeve=between(random, 0.34, 0.42),
        sleeve_width=between(random, 7.0, 8.2),
        neck_width=7.4,
        neck_depth=5.0,
        collar="polo",
        closure="half",
        cuff="rib",
        pocket=pick(random, "none", "none", "chest"),
        variant=variant_of(random),
    )


def _blouse(random: np.random.Generator) -> Cut:
    return Cut(
        "blouse",
        "blouse",
        fit=between(random, 0.4, 0.8),
        length=between(random, 56, 64),
        sleeve=between(random, 0.6, 1.0),
        sleeve_width=between(random, 8.4, 10.4),
        neckline=pick(random, "v", "crew"),
        neck_width=7.6,
        neck_depth=7.0,
        collar=pick(random, "bow", "frill"),
        closure=pick(random, "none", "half"),
        hem=pick(random, "peplum", "straight"),
        cuff="gather",
        gloss=0.1,
        drape=0.5,
        variant=variant_of(random),
    )


def _undershirt(random: np.random.Generator) -> Cut:
    return Cut(
        "undershirt",
        "tank top",
        fit=between(random, 0.0, 0.4),
        length=between(random, 57, 66),
        neckline="scoop",
        neck_width=between(random, 8.2, 9.6),
        neck_depth=between(random, 9.5, 13.5),
        strap=between(random, 3.4, 5.6),
        collar="binding",
        variant=variant_of(random),
    )


def _body(random: np.random.Generator) -> Cut:
    sleeve = float(random.choice([0.0, 0.4, 1.0]))
    return Cut(
        "body",
        "bodysuit",
        pick(random, "other", "other", "knit"),
        fit=0.0,
        length=72.0,
        sleeve=sleeve,
        sleeve_width=5.6,
        neckline=pick(random, "scoop", "v", "crew"),
        neck_width=8.8,
        neck_depth=between(random, 5.0, 10.0),
        strap=0.0 if sleeve else 4.0,
        collar="binding",
        hem="body",
        cuff="hem",
        drape=0.2,
        variant=variant_of(random),
    )


def _top(random: np.random.Generator) -> Cut:
    kind = pick(random, "camisole", "crop", "halter")
    length = between(random, 38, 44) if kind == "crop" else between(random, 48, 58)
    return Cut(
        kind,
        {"camisole": "camisole", "crop": "crop top", "halter": "halter top"}[kind],
        fit=between(random, 0.05, 0.5),
        length=length,
        neckline="v" if kind == "camisole" else "straight",
        neck_width={"halter": 6.2}.get(kind, 10.2),
        neck_depth={"camisole": 14.0, "crop": 9.5}.get(kind, 5.0),
        strap={"camisole": 0.9, "crop": 2.6}.get(kind, 2.0),
        collar="binding",
        hem=pick(random, "straight", "straight", "peplum"),
        flare=0.004,
        gloss=0.12,
        drape=0.42,
        variant=variant_of(random),
    )


def _hoodie(random: np.random.Generator) -> Cut:
    zipped = random.random() < 0.4
    return Cut(
        "hoodie",
        "zip hoodie" if zipped else "hoodie",
        fit=between(random, 0.6, 1.0),
        length=between(random, 62, 69),
        sleeve=1.0,
        sleeve_width=between(random, 8.4, 10.0),
        neck_width=9.0,
        neck_depth=6.5,
        collar="hood",
        closure="zip" if zipped else "none",
        pocket="kangaroo",
        hem="rib",
        cuff="rib",
        drape=0.5,
        print_height=23.0,
        variant=variant_of(random),
    )


TOP_CUTS: dict[str, Callable[[np.random.Generator], Cut]] = {
    "t-shirt": _t_shirt,
    "longsleeve": _longsleeve,
    "shirt": _shirt,
    "polo": _polo,
    "blouse": _blouse,
    "undershirt": _undershirt,
    "body": _body,
    "top": _top,
    "hoodie": _hoodie,
}
