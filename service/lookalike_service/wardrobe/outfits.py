"""Photos of outfits: a person who wears several items, before a street, a wall, a park or in a studio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lookalike_service.wardrobe import person as people
from lookalike_service.wardrobe.arrays import Points, chance
from lookalike_service.wardrobe.canvas import Canvas, Light
from lookalike_service.wardrobe.dressing import Dressing, dress
from lookalike_service.wardrobe.figure import Body, Figure, Pose
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.noise import noise
from lookalike_service.wardrobe.photos import Photo, drawn
from lookalike_service.wardrobe.scenes import scene, shade_ground

__all__ = ["render_outfit"]

_POSES = (
    Pose((10, 14), (6, 10), (5, 1), (1, 4), (1.0, 1.0), 2.4, 4.0, -3.0, -4.0),
    Pose((13, 9), (10, 5), (1, 5), (4, 1), (1.0, 1.0), -2.4, -4.0, 3.0, 4.0),
    Pose((15, 15), (8, 8), (4, 4), (3, 3), (1.0, 1.0), 0.0, 0.0, 0.0, 0.0),
    Pose((34, 10), (-36, 6), (5, 2), (2, 4), (1.0, 1.0), 2.6, 4.5, -3.5, 3.0),
    Pose((10, 34), (6, -36), (2, 5), (4, 2), (1.0, 1.0), -2.6, -4.5, 3.5, -3.0),
    Pose((17, 11), (2, 12), (2, 4), (0, 3), (1.0, 0.93), 1.2, 2.0, -2.0, 2.0),
    Pose((11, 17), (12, 2), (4, 2), (3, 0), (0.93, 1.0), -1.2, -2.0, 2.0, -2.0),
)
_BODIES = (
    Body(),
    Body(shoulders=17.4, chest=14.6, waist=11.6, hips=16.4, limbs=0.96),
    Body(shoulders=18.2, chest=15.8, waist=13.6, hips=17.8, limbs=1.06),
    Body(shoulders=19.6, chest=15.8, waist=13.4, hips=15.8, limbs=1.06),
)


def render_outfit(items: Sequence[Item], *, seed: int, size: tuple[int, int] = (640, 960)) -> Photo:
    """A person wearing `items`, (height, width, 3) for `size` (width, height).

    At most one item per category, and a dress goes without top, pants, shorts and skirt, of which the last three
    exclude each other. What is missing is worn in plain grey and is no garment of the photo. Raises ValueError for
    items that cannot be worn together.
    """
    worn = _by_category(items)
    random = chance(seed, "outfit")
    figure = _figure(random, size)
    if any(_is_narrow(item) for item in worn.values()):
        together = replace(figure.pose, thighs=(-0.6, -0.6), shins=(0.0, 0.0))
        figure = replace(figure, pose=together)
    bare = "dress" in worn or "skirt" in worn or "shorts" in worn
    wearer = people.choose_person(random, bare_legs=bare)
    feet = np.array([figure.leg(side)[-1] + (0.0, 9.0 * figure.unit) for side in (-1, 1)])
    horizon = int(np.clip(feet[:, 1].min() - random.uniform(12, 34) * figure.unit, size[1] * 0.5, size[1] * 0.93))
    background = scene((size[1], size[0]), horizon, random)
    shade_ground(background, feet, figure.unit)
    side = float(random.choice([-1.0, 1.0]))
    canvas = Canvas((size[1], size[0]), light=Light(0.45 * side, -0.58, 0.68, 0.68), background=background)
    dressing = Dressing(canvas, figure, wearer)
    real = dress(dressing, worn, random)
    return _develop(dressing, real, random)


def _by_category(items: Sequence[Item]) -> dict[str, Item]:
    worn: dict[str, Item] = {}
    for item in items:
        if item.category in worn:
            raise ValueError(f"Cannot wear {worn[item.category].id} and {item.id} together: both are {item.category}.")
        worn[item.category] = item
    lower = [name for name in ("pants", "shorts", "skirt", "dress") if name in worn]
    if len(lower) > 1 or ("dress" in worn and "top" in worn):
        names = ", ".join(lower + (["top"] if "top" in worn and "dress" in worn else []))
        raise ValueError(f"Cannot wear {names} together: choose a dress, or a top with pants, shorts or a skirt.")
    return worn


def _is_narrow(item: Item) -> bool:
    """Whether the legs must stand together in it."""
    return item.category in ("skirt", "dress") and item.cut.flare < 0.008


def _figure(random: np.random.Generator, size: tuple[int, int]) -> Figure:
    width, height = size
    pose = _POSES[int(random.integers(len(_POSES)))]
    jitter = [float(x) for x in random.normal(0, 1, 8)]
    pose = replace(
        pose,
        upper_arms=(pose.upper_arms[0] + jitter[0] * 2, pose.upper_arms[1] + jitter[1] * 2),
        forearms=(pose.forearms[0] + jitter[2] * 3, pose.forearms[1] + jitter[3] * 3),
        thighs=(pose.thighs[0] + abs(jitter[4]), pose.thighs[1] + abs(jitter[5])),
        head_tilt=pose.head_tilt + jitter[6] * 1.5,
    )
    unit = min(height * float(random.uniform(0.84, 0.92)) / 204.0, width / 92.0)
    x = width * float(random.uniform(0.44, 0.56)) - pose.hip_shift * unit * 0.5
    top = (height - 204.0 * unit) * float(random.uniform(0.35, 0.6))
    body = _BODIES[int(random.integers(len(_BODIES)))]
    return Figure(unit=unit, origin=(x, top + 38.0 * unit), body=body, pose=pose, worn=True)


def _develop(dressing: Dressing, real: dict[int, Item], random: np.random.Generator) -> Photo:
    canvas = dressing.canvas
    warm = float(random.uniform(-0.04, 0.05))
    image = (
        canvas.image * np.array((1 + warm, 1.0, 1 - warm), dtype=np.float32) * np.float32(random.uniform(0.94, 1.05))
    )
    image += (noise((image.shape[0], image.shape[1]), blur=0.5, seed=int(random.integers(1 << 20))) * np.float32(1.6))[
        ..., None
    ]
    garments = []
    for index, item in real.items():
        mask = np.where(canvas.owner == index, 255, 0).astype(np.uint8)
        points: dict[str, Points] = dressing.sewn[index].landmarks
        garment = drawn(item, mask, points)
        if garment is not None:
            garments.append(garment)
    return Photo(np.clip(np.rint(image), 0, 255).astype(np.uint8), tuple(garments))
