"""Masks of the contract as images."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lookalike.v1.garment_pb2 import Mask, PolygonMask, RunLengthMask

__all__ = ["draw_mask"]

SMOOTHING = 2
# A mask has few cells: they are drawn large, blurred by this share of a cell to lose their corners, and made as
# steep as this at the edge.
BLUR = 0.8
STEEPNESS = 6


def draw_mask(mask: Mask, *, size: tuple[int, int]) -> Image.Image | None:
    """The mask over a photo of `size`, L, 255 inside; None when there is none or it does not hold."""
    shape = mask.WhichOneof("shape")
    if shape == "run_length":
        return _from_runs(mask.run_length, size=size)
    if shape == "polygon":
        return _from_rings(mask.polygon, size=size)
    return None


def _from_runs(mask: RunLengthMask, *, size: tuple[int, int]) -> Image.Image | None:
    if mask.width <= 0 or mask.height <= 0 or sum(mask.runs) != mask.width * mask.height:
        return None
    cells = b"".join((b"\xff" if number % 2 else b"\0") * run for number, run in enumerate(mask.runs))
    bitmap = Image.frombytes("L", (mask.width, mask.height), cells)
    box = mask.box
    left, top = round(box.x0 * size[0]), round(box.y0 * size[1])
    width, height = round(box.x1 * size[0]) - left, round(box.y1 * size[1]) - top
    if width <= 0 or height <= 0:
        return None
    cell = max(width / mask.width, height / mask.height)
    large = bitmap.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(BLUR * cell))
    smooth = large.point([max(0, min(255, (value - 128) * STEEPNESS + 128)) for value in range(256)])
    photo = Image.new("L", size, 0)
    photo.paste(smooth, (left, top))
    return photo


def _from_rings(mask: PolygonMask, *, size: tuple[int, int]) -> Image.Image:
    large = (size[0] * SMOOTHING, size[1] * SMOOTHING)
    inside = Image.new("1", large, 0)
    for ring in mask.rings:
        if len(ring.points) < 3:
            continue
        one = Image.new("1", large, 0)
        ImageDraw.Draw(one).polygon([(point.x * large[0], point.y * large[1]) for point in ring.points], fill=1)
        inside = ImageChops.logical_xor(inside, one)
    return inside.convert("L").resize(size, Image.Resampling.BOX)
