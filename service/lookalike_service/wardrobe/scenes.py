"""Where outfits are photographed: soft streets, walls, parks and studios, and the shadow at the feet."""

from __future__ import annotations

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import Field, Image, Points
from lookalike_service.wardrobe.noise import noise

__all__ = ["scene", "shade_ground"]

_WALLS = (
    (214, 196, 178),
    (178, 190, 198),
    (222, 214, 202),
    (196, 170, 158),
    (170, 184, 170),
    (228, 206, 198),
    (150, 158, 170),
)


def scene(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Image:
    """A background (h, w, 3); `horizon` is the row where the ground begins."""
    makers = (_studio, _wall, _street, _park, _street, _bricks)
    picture = makers[int(random.integers(len(makers)))](size, horizon, random)
    picture += (noise(size, blur=0.5, seed=int(random.integers(1 << 20))) * np.float32(2.0))[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _fill(size: tuple[int, int], top: tuple[int, ...], bottom: tuple[int, ...]) -> Field:
    share = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    row = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(row, size[1], axis=1)


def _studio(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Field:
    tone = np.array(_WALLS[int(random.integers(len(_WALLS)))], np.float32) * 1.06
    picture = _fill(size, tuple(tone), tuple(tone * 0.93))
    y = np.arange(size[0], dtype=np.float32)[:, None] - horizon
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None]
    picture *= (1.05 - 0.12 * x * x - 0.07 / (1 + np.exp(-y / (size[0] * 0.03))))[..., None]
    return picture


def _floor(picture: Field, horizon: int, random: np.random.Generator, tone: tuple[int, ...], *, paved: bool) -> None:
    height, width = picture.shape[:2]
    deep = height - horizon
    ground = _fill((deep, width), tuple(np.array(tone) * 0.9), tuple(np.array(tone) * 1.06))
    ground *= (1 + noise((deep, width), blur=1.0, seed=int(random.integers(1 << 20))) * 0.025)[..., None]
    ground *= (1 + noise((deep, width), blur=width * 0.1, seed=int(random.integers(1 << 20))) * 0.03)[..., None]
    if paved:
        lines: Image = np.zeros((deep, width), dtype=np.uint8)
        middle = width * float(random.uniform(0.3, 0.7))
        for k in range(-14, 15):
            start = (round((middle + k * width * 0.09) * 16), 0)
            end = (round((middle + k * width * 0.34) * 16), deep * 16)
            cv2.line(lines, start, end, (255,), 1 + width // 500, cv2.LINE_AA, 4)
        for k in range(1, 8):
            y = round(deep * (k / 7.5) ** 1.7)
            cv2.line(lines, (0, y), (width, y), (255,), 1 + width // 500, cv2.LINE_AA)
        ground *= (1 - cv2.GaussianBlur(lines, (0, 0), 0.8).astype(np.float32) * (0.16 / 255))[..., None]
    picture[horizon:] = ground


def _wall(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Field:
    tone = _WALLS[int(random.integers(len(_WALLS)))]
    picture = _fill(size, tuple(np.array(tone) * 1.03), tuple(np.array(tone) * 0.92))
    seed = int(random.integers(1 << 20))
    picture *= (1 + noise(size, blur=2.0, seed=seed) * 0.012 + noise(size, blur=size[1] * 0.14, seed=seed) * 0.025)[
        ..., None
    ]
    if random.random() < 0.6:
        _window(picture, horizon, random)
    base = round(size[0] * 0.05)
    picture[horizon - base : horizon] *= 0.82
    _floor(picture, horizon, random, (150, 146, 142), paved=True)
    return picture


def _window(picture: Field, horizon: int, random: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    left = round(width * float(random.choice([-0.06, 0.62])))
    x0, x1 = max(0, left), min(width, left + round(width * 0.44))
    y0, y1 = round(height * 0.06), round(horizon * 0.72)
    picture[y0 - 6 : y1 + 8, max(0, x0 - 6) : x1 + 6] *= 0.78
    glass = _fill((y1 - y0, x1 - x0), (120, 140, 152), (84, 98, 106))
    shine = np.linspace(0, 1, x1 - x0)[None] + np.linspace(0, 1, y1 - y0)[:, None]
    glass *= (1 + 0.18 * (np.sin(shine * 5) > 0.5))[..., None]
    picture[y0:y1, x0:x1] = cv2.GaussianBlur(glass.astype(np.float32), (0, 0), 5)
    for k in (1, 2):
        x = x0 + (x1 - x0) * k // 3
        picture[y0:y1, x - 2 : x + 3] = (206, 200, 192)
    picture[(y0 + y1) // 2 - 2 : (y0 + y1) // 2 + 3, x0:x1] = (206, 200, 192)


def _bricks(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Field:
    height, width = size
    tone = np.array(((168, 104, 84), (188, 176, 164), (140, 96, 88))[int(random.integers(3))], np.float32)
    picture = _fill(size, tuple(tone * 1.05), tuple(tone * 0.95))
    high = max(8, height // 42)
    rows = np.arange(height) // high
    for row in range(int(rows.max()) + 1):
        tint = random.uniform(0.9, 1.08, width // (high * 2) + 3)
        columns = (np.arange(width) + (row % 2) * high) // (high * 2)
        picture[row * high : (row + 1) * high] *= tint[columns][None, :, None]
        picture[row * high : row * high + 2] *= 1.16
        picture[row * high : (row + 1) * high][:, ((np.arange(width) + (row % 2) * high) % (high * 2)) < 2] *= 1.14
    picture *= (1 + noise(size, blur=1.0, seed=int(random.integers(1 << 20))) * 0.04)[..., None]
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.4), dtype=np.float32)
    _floor(picture, horizon, random, (136, 134, 136), paved=True)
    return picture


def _street(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Field:
    """Houses, shop windows and lamps far out of focus."""
    height, width = size
    picture = _fill(size, (206, 220, 232), (226, 222, 214))
    x = -int(random.integers(0, 60))
    while x < width:
        wide = int(random.uniform(0.16, 0.34) * width)
        top = int(random.uniform(-0.05, 0.3) * height)
        tone = np.array(_WALLS[int(random.integers(len(_WALLS)))]) * float(random.uniform(0.62, 1.0))
        cv2.rectangle(picture, (x, top), (x + wide, horizon), tuple(float(c) for c in tone), -1)
        for y in range(top + height // 24, horizon - height // 6, height // 11):
            for k in range(3):
                left = x + wide * (2 * k + 1) // 7
                light = tone * float(random.choice([0.55, 0.66, 1.15]))
                cv2.rectangle(
                    picture, (left, y), (left + wide // 8, y + height // 20), tuple(float(c) for c in light), -1
                )
        shop = np.array(((188, 84, 66), (58, 92, 108), (62, 104, 78), (214, 170, 88))[int(random.integers(4))], float)
        cv2.rectangle(
            picture, (x + wide // 12, horizon - height // 6), (x + wide * 11 // 12, horizon), tuple(shop * 0.5), -1
        )
        cv2.rectangle(
            picture,
            (x + wide // 14, horizon - height // 6),
            (x + wide * 13 // 14, horizon - height // 8),
            tuple(shop),
            -1,
        )
        x += wide
    for _ in range(9):
        spot = (int(random.uniform(0, width)), int(random.uniform(0.2, 0.7) * horizon))
        cv2.circle(picture, spot, int(random.uniform(0.008, 0.022) * width), (255, 232, 190), -1)
    _floor(picture, horizon, random, (148, 146, 146), paved=False)
    picture = np.asarray(_blurred(picture, width * 0.016), dtype=np.float32)
    return picture * np.float32(1.02)


def _park(size: tuple[int, int], horizon: int, random: np.random.Generator) -> Field:
    height, width = size
    picture = _fill(size, (200, 220, 228), (186, 200, 150))
    for _ in range(70):
        tone = np.array((70, 112, 58)) * float(random.uniform(0.55, 1.5)) + random.uniform(-10, 24, 3)
        spot = (int(random.uniform(0, width)), int(random.uniform(-0.05, 0.92) * horizon))
        cv2.circle(
            picture, spot, int(random.uniform(0.03, 0.12) * width), tuple(float(c) for c in np.clip(tone, 20, 235)), -1
        )
    for _ in range(3):
        x = int(random.uniform(0, width))
        cv2.rectangle(picture, (x, height // 5), (x + width // 22, horizon), (84.0, 68.0, 52.0), -1)
    picture[horizon - height // 24 : horizon] = (112, 146, 78)
    _floor(picture, horizon, random, (190, 176, 150), paved=False)
    return np.asarray(_blurred(picture, width * 0.02), dtype=np.float32)


def _blurred(picture: Field, reach: float) -> Field:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(0.6, reach / 4))
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def shade_ground(picture: Image, feet: Points, unit: float) -> None:
    """Darken the ground where the person stands; `feet` are pixels, one row per foot."""
    height, width = picture.shape[:2]
    ink: Image = np.zeros((height // 2, width // 2), dtype=np.uint8)
    middle = feet.mean(axis=0)
    wide = (np.ptp(feet[:, 0]) + 34 * unit) / 2
    cv2.ellipse(
        ink,
        (int(middle[0] / 2 + 6 * unit), int((middle[1] + 2 * unit) / 2)),
        (int(wide / 2 * 1.5), int(5.5 * unit / 2)),
        0,
        0,
        360,
        (130,),
        -1,
    )
    for x, y in feet:
        cv2.ellipse(
            ink,
            (int(x / 2), int((y + 0.5 * unit) / 2)),
            (int(8 * unit / 2), int(3.4 * unit / 2)),
            0,
            0,
            360,
            (235,),
            -1,
        )
    soft = cv2.resize(cv2.GaussianBlur(ink, (0, 0), max(0.6, 2.2 * unit / 2)), (width, height)).astype(np.float32)
    picture[:] = (picture * (1 - soft * np.float32(0.55 / 255))[..., None]).astype(np.uint8)
