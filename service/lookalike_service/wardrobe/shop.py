"""Shop photos of one item: studio, hanger, table and coloured paper."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Field, Image, Points, chance
from lookalike_service.wardrobe.canvas import Canvas, Light
from lookalike_service.wardrobe.cloth import Cloth
from lookalike_service.wardrobe.curves import ribbon, smooth
from lookalike_service.wardrobe.figure import Body, Figure, Pose
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.noise import noise, soften
from lookalike_service.wardrobe.panels import Panel, PlainGrain, Sewn
from lookalike_service.wardrobe.photos import DrawnGarment, Photo, drawn
from lookalike_service.wardrobe.tailor import sew_flat

__all__ = ["render_item"]

_BODIES = {True: Body(), False: Body(shoulders=19.0, chest=15.8, waist=13.6, hips=16.0)}


@dataclass(frozen=True, slots=True)
class _Scene:
    """How one photo differs from the others of the same item."""

    ground: str
    colour: RGB
    fill: float
    turn: float
    tilt: tuple[float, float]
    light: Light
    cast: tuple[float, float, float]
    hanger: bool
    arms: float


def _scene(item: Item, view: int) -> _Scene:
    if view == 0:
        return _Scene("studio", (246, 246, 245), 0.86, 0.0, (0.0, 0.0), Light(), (1.0, 1.0, 1.0), False, 0.0)
    random = chance(item.fabric_seed, view, "scene")
    ground = ("wood", "paper", "linen", "wall")[(view - 1 + int(random.integers(2))) % 4]
    colour = ((206, 172, 132), (222, 208, 196), (208, 220, 224), (226, 214, 220), (196, 208, 190))[
        int(random.integers(5))
    ]
    warm = float(random.uniform(-0.05, 0.06))
    side = float(random.choice([-1.0, 1.0]))
    light = Light(0.45 * side, -0.55, 0.68, float(random.uniform(0.5, 0.75)))
    hangs = item.category in ("top", "outer", "dress") and random.random() < 0.45 and item.cut.collar != "hood"
    turn = float(random.uniform(-3, 3) if hangs else random.uniform(-13, 13))
    tilt = (float(random.uniform(-0.1, 0.1)), float(random.uniform(-0.1, 0.1)))
    bright = float(random.uniform(0.9, 1.04))
    cast = (bright * (1 + warm), bright, bright * (1 - warm))
    return _Scene(
        "wall" if hangs else ground,
        colour,
        float(random.uniform(0.78, 0.98)),
        turn,
        tilt,
        light,
        cast,
        hangs,
        float(random.uniform(-9, 7)),
    )


def render_item(item: Item, *, view: int, size: int = 480) -> Photo:
    """A shop photo of one item, (size, size, 3).

    View 0 is the studio photo on white; 1 and above lie, hang or stand elsewhere, in other light, turned and
    creased differently. Raises ValueError for a negative view or a size below 48.
    """
    if view < 0 or size < 48:
        raise ValueError(f"Cannot render view {view} at {size} px: view must be 0 or more and size at least 48.")
    scene = _scene(item, view)
    figure = _figure(item, scene)
    bounds = sew_flat(item, figure, crease=view).bounds()
    wide, high = bounds[2] - bounds[0], bounds[3] - bounds[1]
    unit = min(size * scene.fill / max(wide, high), size * scene.fill / 40.0)
    middle = ((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    lower = 0.02 if scene.hanger else 0.0
    origin = (size / 2 - middle[0] * unit, size * (0.5 + lower) - middle[1] * unit)
    figure = figure.moved(unit=unit, origin=origin)
    sewn = sew_flat(item, figure, crease=view)
    canvas = Canvas((size, size), light=scene.light)
    cloth = Cloth.of(item, unit)
    if scene.hanger:
        _hang(canvas, figure)
    for depth in (-1, 0, 1):
        for index, panel in enumerate(sewn.panels):
            if panel.depth == depth:
                canvas.paint(panel, cloth, owner=0, seed=item.fabric_seed + index)
    return _develop(item, canvas, sewn, scene, size, view)


def _figure(item: Item, scene: _Scene) -> Figure:
    arms = {"t-shirt": 46.0, "polo": 44.0}.get(item.label, 26.0)
    if item.cut.sleeve > 0.6:
        arms = 20.0
    arms += scene.arms
    pose = Pose(
        upper_arms=(arms, arms - scene.arms * 0.3),
        forearms=(arms * 0.72, arms * 0.72 + scene.arms * 0.4),
        thighs=(5.0, 5.0),
        shins=(4.2, 4.2),
    )
    return Figure(body=_BODIES[item.category in ("dress", "skirt") or item.cut.variant % 2 == 0], pose=pose)


def _hang(canvas: Canvas, figure: Figure) -> None:
    """A wooden hanger with a wire hook; it belongs to nobody."""
    unit = figure.unit
    grain = PlainGrain(figure.origin, unit)
    hook = smooth([(0.0, -3.5), (0.0, -8.0), (2.6, -10.4), (1.4, -13.6), (-1.8, -13.4)])
    canvas.paint(
        Panel(figure.torso(ribbon(hook, 0.6)), grain, tint=(168, 168, 172), bulge=0.3 * unit, lift=0.1), None, owner=-1
    )
    bar = smooth([(-17.0, 3.0), (-8.0, -0.8), (0.0, -3.4), (8.0, -0.8), (17.0, 3.0)])
    canvas.paint(
        Panel(figure.torso(ribbon(bar, 2.2)), grain, tint=(176, 132, 88), bulge=0.8 * unit, lift=0.1), None, owner=-1
    )


def _develop(item: Item, canvas: Canvas, sewn: Sewn, scene: _Scene, size: int, view: int) -> Photo:
    turn = _turning(scene, size)
    image, coverage, owner = canvas.image, canvas.coverage, canvas.owner
    if scene.turn or any(scene.tilt):
        image = cv2.warpPerspective(image, turn, (size, size), flags=cv2.INTER_LINEAR)
        coverage = cv2.warpPerspective(coverage, turn, (size, size), flags=cv2.INTER_LINEAR)
        seen = cv2.warpPerspective(
            (owner == 0).astype(np.uint8) * np.uint8(255), turn, (size, size), flags=cv2.INTER_LINEAR
        )
    else:
        seen = (owner == 0).astype(np.uint8) * np.uint8(255)
    ground = _ground(scene, size, item.fabric_seed + view)
    _shadow(ground, coverage, scene)
    ground *= 1 - coverage[..., None]
    ground += image
    ground *= np.array(scene.cast, dtype=np.float32)
    ground += (noise((size, size), seed=item.fabric_seed + view) * np.float32(1.3))[..., None]
    np.clip(ground, 0, 255, out=ground)
    mask: Image = np.where(seen >= 128, 255, 0).astype(np.uint8)
    points = {name: _turned(point, turn) for name, point in sewn.landmarks.items()}
    garment = drawn(item, mask, points)
    garments: tuple[DrawnGarment, ...] = (garment,) if garment else ()
    return Photo((ground + np.float32(0.5)).astype(np.uint8), garments)


def _turning(scene: _Scene, size: int) -> Field:
    middle = size / 2
    turned = np.vstack((cv2.getRotationMatrix2D((middle, middle), scene.turn, 1.0), (0.0, 0.0, 1.0)))
    to_middle = np.array(((1, 0, -middle), (0, 1, -middle), (0, 0, 1.0)))
    back = np.array(((1, 0, middle), (0, 1, middle), (0, 0, 1.0)))
    tilted = np.array(((1, 0, 0), (0, 1, 0), (scene.tilt[0] / size, scene.tilt[1] / size, 1.0)))
    return np.asarray(back @ tilted @ to_middle @ turned, dtype=np.float64)


def _turned(point: Points, turn: Field) -> Points:
    x, y, w = turn @ np.array((point[0], point[1], 1.0))
    return np.array((x / w, y / w))


def _shadow(ground: Field, coverage: Field, scene: _Scene) -> None:
    """A tight contact shadow and a wide soft one."""
    half = ground.shape[0] // 2
    small = cv2.resize(coverage, (half, half), interpolation=cv2.INTER_AREA)
    keep: Field = np.ones_like(small)
    for reach, strength, distance in ((0.006, 0.32, 0.006), (0.03, 0.24, 0.022)):
        dx, dy = (-towards * distance * half * 1.6 for towards in (scene.light.x, scene.light.y))
        move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
        keep *= 1 - soften(cv2.warpAffine(small, move, (half, half)), max(0.6, reach * half)) * np.float32(strength)
    ground *= np.asarray(cv2.resize(keep, ground.shape[1::-1], interpolation=cv2.INTER_LINEAR))[..., None]


def _ground(scene: _Scene, size: int, seed: int) -> Field:
    ground: Field = np.empty((size, size, 3), dtype=np.float32)
    ground[:] = scene.colour
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, size, dtype=np.float32)[None]
    if scene.ground == "studio":
        ground *= (1.012 - 0.05 * (2 * (x - 0.5)) ** 2 - 0.05 * (2 * (y - 0.45)) ** 2)[..., None]
        return ground
    if scene.ground == "wood":
        ground[:] = (208, 178, 142)
        boards = 5
        rows = np.floor(y * boards)
        tone = 1 + 0.05 * np.sin(rows * 12.9 + seed % 7)
        grain = (
            cv2.resize(
                noise((size // 2, max(8, size // 24)), blur=0.75, seed=seed),
                (size, size),
                interpolation=cv2.INTER_CUBIC,
            )
            * 0.035
        )
        gap = np.clip(1 - np.abs(y * boards - np.rint(y * boards)) * size / boards / 1.6, 0, 1) * 0.35
        ground *= (tone * (1 + grain) - gap)[..., None]
    elif scene.ground == "linen":
        weave = cv2.blur(noise((size, size), seed=seed), (7, 1)) + cv2.blur(noise((size, size), seed=seed + 9), (1, 7))
        ground *= (1 + weave * 0.03 + noise((size, size), blur=size * 0.12, seed=seed) * 0.03)[..., None]
    elif scene.ground == "wall":
        ground *= (
            1
            + noise((size, size), blur=2.0, seed=seed) * 0.008
            + noise((size, size), blur=size * 0.2, seed=seed) * 0.02
        )[..., None]
    fall = 1.04 - 0.16 * np.hypot(x - (0.5 - 0.4 * scene.light.x), y - 0.3)
    ground *= fall[..., None].astype(np.float32)
    return ground
