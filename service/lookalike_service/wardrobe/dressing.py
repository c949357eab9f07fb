"""Dressing a person: sewing what is worn and painting it from back to front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from lookalike_service.wardrobe import person as people
from lookalike_service.wardrobe.bags import handle_top, sew_bag
from lookalike_service.wardrobe.bottoms import sew_legs
from lookalike_service.wardrobe.canvas import Canvas
from lookalike_service.wardrobe.choosing import choose_cut
from lookalike_service.wardrobe.cloth import Cloth
from lookalike_service.wardrobe.curves import smooth
from lookalike_service.wardrobe.dresses import sew_dress
from lookalike_service.wardrobe.figure import ANKLE, HIP_JOINT, WAIST, Figure
from lookalike_service.wardrobe.hats import sew_hat
from lookalike_service.wardrobe.head import band_center, face, hair_back, hair_front
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.panels import Panel, Sewn
from lookalike_service.wardrobe.shoes import heel_height
from lookalike_service.wardrobe.skirts import sew_skirt
from lookalike_service.wardrobe.uppers import sew_upper
from lookalike_service.wardrobe.worn_shoes import sew_worn_shoes

__all__ = ["Dressing", "dress"]


class Dressing:
    """One outfit being painted: who owns what, and the layers in order."""

    def __init__(self, canvas: Canvas, figure: Figure, wearer: people.Person) -> None:
        self.canvas, self.figure, self.wearer = canvas, figure, wearer
        self.items: list[Item] = []
        self.sewn: list[Sewn] = []
        self.cloths: list[Cloth | None] = []

    def add(self, item: Item, sewn: Sewn) -> int:
        """Take one garment in; returns its number, which owns its pixels."""
        self.items.append(item)
        self.sewn.append(sewn)
        self.cloths.append(Cloth.of(item, self.figure.unit))
        return len(self.items) - 1

    def wear(self, index: int | None, depth: int) -> None:
        """Paint the panels of one garment that lie at `depth`."""
        if index is None:
            return
        for k, panel in enumerate(self.sewn[index].panels):
            if panel.depth == depth:
                self.canvas.paint(panel, self.cloths[index], owner=index, seed=self.items[index].fabric_seed + k)

    def flesh(self, panels: Iterable[Panel]) -> None:
        """Paint what belongs to no garment."""
        for panel in panels:
            self.canvas.paint(panel, None, owner=-1)


def dress(dressing: Dressing, worn: dict[str, Item], random: np.random.Generator) -> dict[int, Item]:
    """Paint person and garments from back to front; returns the garments that count, by owner.

    `worn` maps categories to items. What a person needs and is not there is worn in plain grey.
    """
    figure, wearer = dressing.figure, dressing.wearer
    layers = _sew(dressing, worn, random)
    dressing.flesh(hair_back(figure, wearer))
    for index in (layers.outer, layers.whole, layers.bottom, layers.top):
        dressing.wear(index, -1)
    _paint_legs(dressing, worn.get("shoes"), layers.bottom if layers.bottom is not None else layers.whole)
    upper = layers.whole if layers.whole is not None else layers.top
    reach = dressing.items[upper].cut.sleeve if upper is not None else 0.0
    covered = layers.outer is not None
    dressing.flesh([people.torso(figure, wearer, bare_shoulders=reach == 0 and not covered)])
    for index in (layers.top, layers.bottom) if layers.tucked else (layers.bottom, layers.top):
        dressing.wear(index, 0)
    dressing.wear(layers.whole, 0)
    dressing.wear(layers.outer, 0)
    # A sleeve hides the arm but for its end; painting the shoulder would let skin peep out at the seam.
    start = 0.84 if covered else max(0.0, reach - (0.14 if reach > 0.5 else 0.07))
    for side in (-1, 1):
        dressing.flesh(people.arm(figure, wearer, side, start=start))
    dressing.wear(layers.outer if covered else upper, 1)  # under a jacket no other sleeve can be seen
    if "bag" in worn:
        _carry(dressing, worn["bag"], random)
    dressing.flesh(face(figure, wearer))
    dressing.flesh(hair_front(figure, wearer, hat="hat" in worn))
    if "hat" in worn:
        center, turn = band_center(figure)
        dressing.wear(dressing.add(worn["hat"], sew_hat(center, figure.unit * 0.92, worn["hat"].cut, turn=turn)), 0)
    return {index: item for index, item in enumerate(dressing.items) if item.id != "plain"}


@dataclass(frozen=True, slots=True)
class _Layers:
    """Which garment of the dressing is which; None where there is none."""

    top: int | None = None
    bottom: int | None = None
    whole: int | None = None
    outer: int | None = None
    tucked: bool = False


def _sew(dressing: Dressing, worn: dict[str, Item], random: np.random.Generator) -> _Layers:
    figure, layers = dressing.figure, _Layers()
    if "dress" in worn:
        layers = _Layers(whole=dressing.add(worn["dress"], sew_dress(figure, worn["dress"].cut, random)))
    else:
        lower = next((worn[name] for name in ("pants", "shorts", "skirt") if name in worn), None)
        lower = lower or _plain("pants", "pants", random)
        upper = worn.get("top") or _plain("top", "undershirt", random)
        tucked = upper.cut.hem == "body" or random.random() < _tuck_share(upper, lower)
        sew_lower = sew_skirt if lower.category == "skirt" else sew_legs
        bottom = dressing.add(lower, sew_lower(figure, lower.cut, random))
        top = dressing.add(upper, sew_upper(figure, upper.cut, random, tucked=tucked))
        layers = _Layers(top=top, bottom=bottom, tucked=tucked)
    if "outer" not in worn:
        return layers
    coat = worn["outer"]
    opened = random.random() < {"puffer": 0.0, "trench": 0.5}.get(coat.cut.name, 0.85)
    sewn = sew_upper(figure, coat.cut, random, opened=opened, outer=True)
    return replace(layers, outer=dressing.add(coat, sewn))


def _plain(like: str, label: str, random: np.random.Generator) -> Item:
    cut = choose_cut(label, np.random.default_rng(1))
    if label == "pants":
        cut = replace(
            cut,
            name="leggings",
            width=4.6,
            fit=0.0,
            cuff="hem",
            pocket="none",
            waist="elastic",
            closure="none",
            material="other",
            flare=0.0,
            pleats=False,
        )
    grey = int(random.integers(70, 190))
    return Item(
        "plain",
        like,
        label,
        "",
        "",
        0,
        "EUR",
        ("grey",),
        ((grey, grey, grey + 2),),
        "solid",
        "other",
        "plain",
        "colour",
        cut,
        7,
    )


def _tuck_share(top: Item, bottom: Item) -> float:
    if top.label in ("hoodie",) or top.cut.hem in ("rib", "peplum") or top.cut.length < 46:
        return 0.0
    return 0.65 if bottom.category == "skirt" else 0.4


def _hem_share(lower: Item) -> float:
    """At which share of the leg the garment ends; above it no leg is painted, so none peeps out beside it."""
    if lower.category in ("pants", "shorts"):
        return lower.cut.length
    hem = lower.cut.length + (WAIST if lower.category == "skirt" else 0.0)
    return (hem - HIP_JOINT) / (ANKLE - HIP_JOINT)


def _paint_legs(dressing: Dressing, shoes: Item | None, lowest: int | None) -> None:
    lower = dressing.items[lowest] if lowest is not None else None
    start = _hem_share(lower) - 0.14 if lower is not None else 0.0
    heeled = shoes is not None and heel_height(shoes.cut) > 6
    for side in (-1, 1):
        dressing.flesh(people.leg(dressing.figure, dressing.wearer, side, heeled=heeled, start=start))
    if shoes is not None:
        dressing.wear(dressing.add(shoes, sew_worn_shoes(dressing.figure, shoes.cut)), 0)


def _carry(dressing: Dressing, item: Item, random: np.random.Generator) -> None:
    """A bag in the hand, on the shoulder or across the body."""
    figure, unit = dressing.figure, dressing.figure.unit
    pose = figure.pose
    side = 1 if pose.forearms[0] > pose.forearms[1] else -1
    if item.cut.name in ("crossbody", "backpack"):
        hip = figure.torso([(side * 15.0, 58.0)])[0]
        shoulder = figure.torso([(-side * 9.0, -0.4)])[0]
        line = smooth([shoulder, figure.torso([(0.0, 20.0)])[0], hip + np.array((-side * 6 * unit, -7 * unit))])
        scale = 0.86 if item.cut.name == "crossbody" else 0.9
        if item.cut.name == "backpack":
            held = people.grip(figure, side)
            sewn = sew_bag((float(held[0]), float(held[1] + 21.5 * unit * scale)), unit * scale, item.cut)
        else:
            sewn = sew_bag((float(hip[0]), float(hip[1])), unit * scale, item.cut, strap_to=line)
    else:
        held = people.grip(figure, side)
        drop = handle_top(item.cut) * item.cut.length * unit * 0.9
        sewn = sew_bag(
            (float(held[0]), float(held[1] + max(drop - 1.5 * unit, 4 * unit))),
            unit * 0.9,
            item.cut,
            turn=float(random.uniform(-3, 3)),
        )
    dressing.wear(dressing.add(item, sewn), 0)
    if item.cut.name != "crossbody":
        dressing.flesh(people.fingers(figure, dressing.wearer, side))
