"""A drawing surface in logical pixels whose shapes have smooth edges (Pillow's own are jagged)."""

from __future__ import annotations

import functools

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lookalike.pictures.colors import PAPER, Color
from lookalike.pictures.lettering import Lettering, Style

__all__ = ["Canvas", "Rect", "contain", "cover", "rounded_mask"]

Rect = tuple[float, float, float, float]
"""x, y, width, height in logical pixels."""

SMOOTHING = 4


class Canvas:
    """An RGB image on which one logical pixel is `scale` device pixels."""

    def __init__(self, image: Image.Image, *, scale: float, lettering: Lettering) -> None:
        self.image = image
        self.scale = scale
        self.lettering = lettering
        self._draw = ImageDraw.Draw(image)

    @classmethod
    def blank(cls, width: float, height: float, *, scale: float, lettering: Lettering) -> Canvas:
        """An empty sheet of paper."""
        size = (round(width * scale), round(height * scale))
        return cls(Image.new("RGB", size, PAPER), scale=scale, lettering=lettering)

    @property
    def width(self) -> float:
        return self.image.width / self.scale

    @property
    def height(self) -> float:
        return self.image.height / self.scale

    def _place(self, rect: Rect) -> tuple[int, int, int, int]:
        x, y, width, height = rect
        left, top = round(x * self.scale), round(y * self.scale)
        return left, top, max(round((x + width) * self.scale) - left, 1), max(round((y + height) * self.scale) - top, 1)

    def fill(self, rect: Rect, color: Color, *, radius: float = 0.0, opacity: float = 1.0) -> None:
        """A filled rectangle with round corners."""
        left, top, width, height = self._place(rect)
        mask = rounded_mask((width, height), round(radius * self.scale))
        self._stamp(mask, (left, top), color, opacity=opacity)

    def outline(
        self, rect: Rect, color: Color, *, radius: float = 0.0, line: float = 1.0, opacity: float = 1.0
    ) -> None:
        """The border of a rectangle with round corners, drawn inside of it."""
        left, top, width, height = self._place(rect)
        thick = max(round(line * self.scale), 1)
        mask = rounded_mask((width, height), round(radius * self.scale)).copy()
        if width > 2 * thick and height > 2 * thick:
            inner = rounded_mask((width - 2 * thick, height - 2 * thick), round(radius * self.scale) - thick)
            hole = Image.new("L", mask.size, 0)
            hole.paste(inner, (thick, thick))
            mask = ImageChops.subtract(mask, hole)
        self._stamp(mask, (left, top), color, opacity=opacity)

    def dot(self, x: float, y: float, color: Color, *, radius: float, opacity: float = 1.0) -> None:
        """A filled circle around x, y."""
        self.fill((x - radius, y - radius, 2 * radius, 2 * radius), color, radius=radius, opacity=opacity)

    def shadow(self, rect: Rect, *, radius: float, blur: float, opacity: float, drop: float = 0.0) -> None:
        """The soft shadow of what is drawn at `rect` afterwards."""
        left, top, width, height = self._place(rect)
        margin = round(3 * blur * self.scale)
        mask = Image.new("L", (width + 2 * margin, height + 2 * margin), 0)
        mask.paste(rounded_mask((width, height), round(radius * self.scale)), (margin, margin))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * self.scale))
        self._stamp(mask, (left - margin, top - margin + round(drop * self.scale)), (20, 24, 40), opacity=opacity)

    def line(self, points: list[tuple[float, float]], color: Color, *, width: float) -> None:
        """A line through the points, with round joints and ends."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        left, top = min(xs) - width, min(ys) - width
        right, bottom = max(xs) + width, max(ys) + width
        fine = self.scale * SMOOTHING
        size = (round((right - left) * fine), round((bottom - top) * fine))
        mask = Image.new("L", size, 0)
        draw = ImageDraw.Draw(mask)
        scaled = [((x - left) * fine, (y - top) * fine) for x, y in points]
        draw.line(scaled, fill=255, width=round(width * fine), joint="curve")
        for x, y in (scaled[0], scaled[-1]):
            draw.circle((x, y), width * fine / 2, fill=255)
        small = mask.resize((max(size[0] // SMOOTHING, 1), max(size[1] // SMOOTHING, 1)), Image.Resampling.BOX)
        self._stamp(small, (round(left * self.scale), round(top * self.scale)), color, opacity=1.0)

    def text(
        self, x: float, y: float, text: str, style: Style, *, width: float | None = None, right: bool = False
    ) -> float:
        """One line whose baseline is at y, from x on or (`right`) ending there, cut to `width`; gives its width."""
        if width is not None:
            text = self.lettering.fit(text, style=style, scale=self.scale, width=width)
        font = self.lettering.load(style, scale=self.scale)
        place = (round(x * self.scale), round(y * self.scale))
        self._draw.text(place, text, font=font, fill=style.color, anchor="rs" if right else "ls")
        return font.getlength(text) / self.scale

    def picture(self, picture: Image.Image, rect: Rect, *, radius: float = 0.0) -> None:
        """An RGB picture that fills the rectangle, with round corners."""
        left, top, width, height = self._place(rect)
        fitted = picture.resize((width, height), Image.Resampling.LANCZOS)
        self.image.paste(fitted, (left, top), rounded_mask((width, height), round(radius * self.scale)))

    def tint(self, mask: Image.Image, place: tuple[int, int], color: Color, *, opacity: float) -> None:
        """Color where the mask (device pixels, its corner at `place`) is set."""
        self._stamp(mask, place, color, opacity=opacity)

    def _stamp(self, mask: Image.Image, place: tuple[int, int], color: Color, *, opacity: float) -> None:
        if opacity < 1.0:
            mask = mask.point(lambda value: value * opacity)
        self.image.paste(color, (*place, place[0] + mask.width, place[1] + mask.height), mask)


@functools.lru_cache(maxsize=128)
def rounded_mask(size: tuple[int, int], radius: int) -> Image.Image:
    """A smooth L mask of a rectangle with round corners, in device pixels; do not draw on it."""
    width, height = size
    radius = max(min(radius, width // 2, height // 2), 0)
    mask = Image.new("L", size, 255)
    if radius == 0:
        return mask
    fine = radius * SMOOTHING
    quarter = Image.new("L", (fine, fine), 0)
    ImageDraw.Draw(quarter).circle((fine, fine), fine, fill=255)
    corner = quarter.resize((radius, radius), Image.Resampling.BOX)
    mirrored, flipped = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
    mask.paste(corner, (0, 0))
    mask.paste(corner.transpose(mirrored), (width - radius, 0))
    mask.paste(corner.transpose(flipped), (0, height - radius))
    mask.paste(corner.transpose(mirrored).transpose(flipped), (width - radius, height - radius))
    return mask


def cover(image: Image.Image, *, ratio: float) -> Image.Image:
    """The middle of the image in that ratio of width to height."""
    width, height = image.size
    if width / height > ratio:
        keep = height * ratio
        return image.crop((round((width - keep) / 2), 0, round((width + keep) / 2), height))
    keep = width / ratio
    return image.crop((0, round((height - keep) / 2), width, round((height + keep) / 2)))


def contain(image: Image.Image, *, ratio: float, color: Color) -> Image.Image:
    """The whole image in that ratio of width to height, with `color` where it does not reach."""
    width, height = image.size
    size = (max(round(height * ratio), width), max(round(width / ratio), height))
    sheet = Image.new("RGB", size, color)
    sheet.paste(image, ((size[0] - width) // 2, (size[1] - height) // 2))
    return sheet
