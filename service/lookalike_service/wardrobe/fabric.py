"""Procedural fabrics: patterns (striped, checked, dotted, floral, ...) and surfaces (denim, knit, leather)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Field, Image, chance
from lookalike_service.wardrobe.motifs import chest_print, print_repeat
from lookalike_service.wardrobe.noise import noise

__all__ = ["MATERIALS", "PATTERNS", "fabric", "surface"]

PATTERNS = ("solid", "striped", "checked", "dotted", "floral", "graphic")
MATERIALS = ("denim", "knit", "leather", "other")


def fabric(
    pattern: str,
    *,
    palette: Sequence[RGB],
    scale: float = 4.0,
    seed: int = 0,
    size: int | tuple[int, int] = 224,
    print_at: tuple[float, float, float] | None = None,
) -> Image:
    """A piece of cloth, (h, w, 3) RGB, lit evenly.

    `palette` is the ground colour and one or two colours of the pattern. `scale` is pixels per centimetre: a
    garment that fills a 224 px crop has about 4. The same seed gives the same design at every scale. `size` is
    one side or (height, width). `print_at` places a graphic print: center x, center y and side in pixels
    (default: the chest of a garment that fills the cloth). Raises ValueError for an unknown pattern.
    """
    shape = (size, size) if isinstance(size, int) else size
    colours: list[RGB] = [(int(r), int(g), int(b)) for r, g, b in palette] or [(128, 128, 128)]
    if len(colours) == 1:
        colours.append(_contrast(colours[0]))
    random = chance(seed, pattern)
    makers = {
        "solid": _solid,
        "striped": _striped,
        "checked": _checked,
        "dotted": _dotted,
        "floral": _floral,
        "graphic": _solid,
    }
    if pattern not in makers:
        raise ValueError(f"Unknown pattern {pattern!r}: use one of {', '.join(PATTERNS)}.")
    cloth = makers[pattern](np.array(colours, dtype=np.float32), shape, scale, random)
    if pattern == "graphic":
        place = print_at or (shape[1] * 0.5, shape[0] * 0.4, min(shape) * 0.42)
        _print(cloth, colours[1:], place, random)
    _add_noise(cloth, 2.2, seed)
    return cloth


def _add_noise(cloth: Image, strength: float, seed: int) -> None:
    """Weave: every thread is a little lighter or darker than its neighbour."""
    height, width = cloth.shape[:2]
    weave = _weave()
    shift = (seed * 2654435761) & 0xFFFFFFFF
    top, left = shift % 256, (shift >> 12) % 256
    repeats = (-(-(height + top) // weave.shape[0]), -(-(width + left) // weave.shape[1]), 1)
    if repeats != (1, 1, 1):
        weave = np.tile(weave, repeats)
    threads = weave[top : top + height, left : left + width]
    cv2.addWeighted(cloth, 1.0, threads, strength / 32, -4.0 * strength, dst=cloth)


@lru_cache(maxsize=1)
def _weave() -> Image:
    """Noise around 128 with standard deviation 32, the same in all three channels."""
    threads = np.clip(128 + 32 * np.tile(noise((512, 512), blur=0.5), (2, 2)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(threads[..., None], 3, axis=2))


def _contrast(colour: RGB) -> RGB:
    return (245, 243, 238) if sum(colour) < 420 else (40, 44, 56)


def _solid(colours: Field, shape: tuple[int, int], scale: float, random: np.random.Generator) -> Image:
    cloth: Image = np.empty((*shape, 3), dtype=np.uint8)
    cloth[:] = np.rint(colours[0]).astype(np.uint8)
    if random.random() < 0.3:  # heather: two dyes spun into one yarn
        _add_noise(cloth, 5.0, int(random.integers(1 << 20)))
    return cloth


def _bands(colours: Field, random: np.random.Generator, *, wide: float) -> tuple[Field, float]:
    """One period of stripes as a table (512, 3) and its length in centimetres."""
    widths = [float(random.uniform(0.5, 1.0)) * wide, float(random.uniform(0.25, 1.0)) * wide]
    dyes = [colours[0], colours[1]]
    if len(colours) > 2 and random.random() < 0.6:
        widths += [float(random.uniform(0.4, 1.0)) * wide, widths[1] * 0.5]
        dyes += [colours[0], colours[2]]
    ends = np.cumsum(widths)
    position = (np.arange(512) + 0.5) / 512 * ends[-1]
    table = np.asarray(dyes, dtype=np.float32)[np.searchsorted(ends, position)]
    return table, float(ends[-1])


def _profile(table: Field, period: float, length: int, scale: float, phase: float) -> Field:
    """The table along `length` pixels, averaged over each pixel so that fine stripes do not shimmer."""
    fine = (np.arange(length * 4) / 4.0 - length / 2) / scale + phase
    samples = table[(np.mod(fine / period, 1.0) * 512).astype(np.int64)]
    return np.asarray(samples.reshape(length, 4, 3).mean(axis=1), dtype=np.float32)


def _striped(colours: Field, shape: tuple[int, int], scale: float, random: np.random.Generator) -> Image:
    wide = float(random.choice([0.9, 1.6, 2.6, 4.5]))
    table, period = _bands(colours, random, wide=wide)
    way = float(random.random())
    if way < 0.6:
        rows = _profile(table, period, shape[0], scale, 0.0)
        return np.repeat(np.rint(rows).astype(np.uint8)[:, None], shape[1], axis=1)
    if way < 0.9:
        columns = _profile(table, period, shape[1], scale, period / 4)
        return np.repeat(np.rint(columns).astype(np.uint8)[None], shape[0], axis=0)
    length = int(np.hypot(*shape)) + 4
    line = np.rint(_profile(table, period, length, scale, 0.0)).astype(np.uint8)
    wall = np.repeat(line[None], 8, axis=0)
    x = (np.arange(shape[1], dtype=np.float32)[None] + np.arange(shape[0], dtype=np.float32)[:, None]) * 0.7071
    return np.asarray(cv2.remap(wall, x, np.full_like(x, 3.0), cv2.INTER_LINEAR), dtype=np.uint8)


def _checked(colours: Field, shape: tuple[int, int], scale: float, random: np.random.Generator) -> Image:
    kind = ("gingham", "tartan", "windowpane")[int(random.integers(3))]
    if kind == "windowpane":
        period = float(random.uniform(4.0, 9.0))
        table = np.repeat(colours[:1], 512, axis=0)
        table[: max(24, int(512 * 0.5 / period))] = colours[1]
        across, down = (_profile(table, period, n, scale, period / 2) for n in (shape[1], shape[0]))
        light = np.abs(down - colours[0]).sum(axis=1) / max(1.0, float(np.abs(colours[1] - colours[0]).sum()))
        line = np.rint(light * 255).astype(np.uint8)[:, None]
        return _mix(np.rint(across).astype(np.uint8)[None], np.rint(down).astype(np.uint8)[:, None], line, shape)
    if kind == "gingham":
        period = float(random.choice([1.6, 2.6, 4.0]))
        table = np.vstack((np.repeat(colours[:1], 256, axis=0), np.repeat(colours[1:2], 256, axis=0)))
    else:
        table, period = _bands(colours, random, wide=float(random.uniform(2.0, 4.2)))
        thin = int(512 * 0.4 / period)
        table[128 : 128 + thin] = colours[-1]
        table[300 : 300 + thin] = colours[1]
    across, down = (
        np.rint(_profile(table, period, n, scale, period / 4)).astype(np.uint8) for n in (shape[1], shape[0])
    )
    return _mix(across[None], down[:, None], np.full((1, 1), 128, np.uint8), shape)


def _mix(first: Image, second: Image, share: Image, shape: tuple[int, int]) -> Image:
    """`first` and `second` woven together: `share` (0..255) of the second."""
    a = np.broadcast_to(first, (*shape, 3))
    b = np.broadcast_to(second, (*shape, 3))
    if share.size == 1:
        weight = float(share.flat[0]) / 255
        return np.asarray(cv2.addWeighted(np.ascontiguousarray(a), 1 - weight, np.ascontiguousarray(b), weight, 0))
    weights = np.broadcast_to(share[..., None], (*shape, 1)).astype(np.uint16)
    mixed: Image = ((a * (255 - weights) + b * weights) // 255).astype(np.uint8)
    return mixed


def _dotted(colours: Field, shape: tuple[int, int], scale: float, random: np.random.Generator) -> Image:
    period = float(random.choice([1.5, 2.4, 3.6, 5.5]))
    radius = period * float(random.uniform(0.14, 0.27))
    cell = max(4, round(period * scale))  # a whole number of pixels, so that one drawn cell repeats exactly
    y, x = np.mgrid[0:cell, 0:cell].astype(np.float32) + 0.5
    dx, dy = np.abs(x - cell / 2), np.abs(y - cell / 2)
    middle = np.hypot(dx, dy)
    corner = np.hypot(cell / 2 - dx, cell / 2 - dy)
    reach = max(radius * scale, 0.7)
    inner, outer = (np.clip(reach - d + 0.5, 0, 1)[..., None] for d in (middle, corner))
    other = colours[2] if len(colours) > 2 and random.random() < 0.4 else colours[1]
    one = colours[0] + (colours[1] - colours[0]) * inner + (other - colours[0]) * outer
    return _repeat(np.clip(np.rint(one), 0, 255).astype(np.uint8), shape)


def _floral(colours: Field, shape: tuple[int, int], scale: float, random: np.random.Generator) -> Image:
    side = max(16, round(float(random.uniform(14.0, 24.0)) * scale))
    palette = [(int(c[0]), int(c[1]), int(c[2])) for c in colours]
    return _repeat(print_repeat(side, palette=palette, random=random), shape)


def _repeat(one: Image, shape: tuple[int, int]) -> Image:
    tiled = np.tile(one, (-(-shape[0] // one.shape[0]), -(-shape[1] // one.shape[1]), 1))
    return np.ascontiguousarray(tiled[: shape[0], : shape[1]])


def _print(
    cloth: Image, palette: Sequence[RGB], place: tuple[float, float, float], random: np.random.Generator
) -> None:
    side = max(8, round(place[2]))
    left, top = round(place[0] - side / 2), round(place[1] - side / 2)
    colours, coverage = chest_print(side, palette=palette, random=random)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(cloth.shape[1], left + side), min(cloth.shape[0], top + side)
    if x1 <= x0 or y1 <= y0:
        return
    share = coverage[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.uint16)
    ink = colours[y0 - top : y1 - top, x0 - left : x1 - left]
    under = cloth[y0:y1, x0:x1]
    cloth[y0:y1, x0:x1] = ((under * (255 - share) + ink * share) // 255).astype(np.uint8)


def surface(material: str, *, scale: float = 4.0, seed: int = 0, size: int | tuple[int, int] = 224) -> Field:
    """The relief of a material as a factor per pixel, (h, w) float32 around 1, to multiply a fabric with.

    `scale` is pixels per centimetre. Raises ValueError for an unknown material.
    """
    shape = (size, size) if isinstance(size, int) else size
    if material == "denim":
        washed = noise(shape, blur=scale * 2.5, seed=seed) * 0.035
        slubs = cv2.blur(noise(shape, blur=0.5, seed=seed + 1), (1, 5)) * 0.03
        return np.asarray(1.0 + washed + slubs + _twill(shape, scale) * 0.06, dtype=np.float32)
    if material == "knit":
        return _knit(shape, scale, seed)
    if material == "leather":
        return np.asarray(1.0 + noise(shape, blur=scale * 0.3, seed=seed) * 0.024, dtype=np.float32)
    if material == "other":
        return np.asarray(1.0 + noise(shape, blur=scale * 3, seed=seed) * 0.008, dtype=np.float32)
    raise ValueError(f"Unknown material {material!r}: use one of {', '.join(MATERIALS)}.")


def _twill(shape: tuple[int, int], scale: float) -> Field:
    period = max(0.28 * scale, 2.4)
    phase = np.arange(shape[1], dtype=np.float32)[None] + np.arange(shape[0], dtype=np.float32)[:, None]
    table = np.sin(np.arange(sum(shape), dtype=np.float32) * (2 * np.pi / period)).astype(np.float32)
    return np.asarray(table[phase.astype(np.int32)], dtype=np.float32)


def _knit(shape: tuple[int, int], scale: float, seed: int) -> Field:
    """Stockinette: columns of little Vs; every third seed a fisherman's rib."""
    wale = max((0.75 if seed % 3 else 1.5) * scale, 3.2)
    x = np.arange(shape[1], dtype=np.float32)[None] * (2 * np.pi / wale)
    if seed % 3 == 0:
        rib = 1.0 + 0.12 * np.sin(x) + noise(shape, blur=1.0, seed=seed) * 0.02
        return np.asarray(rib, dtype=np.float32)
    y = np.arange(shape[0], dtype=np.float32)[:, None] * (2 * np.pi / (wale * 0.8))
    vees = np.sin(y + 1.6 * np.abs(np.sin(x / 2)) * 2)
    return np.asarray(1.0 + 0.075 * vees - 0.05 * np.cos(x), dtype=np.float32)
