"""Fonts and lines of text."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

from lookalike.pictures.colors import INK, Color

__all__ = ["Lettering", "Style"]

ELLIPSIS = "…"
FILES = {False: "SourceSansPro-Regular.ttf", True: "SourceSansPro-Semibold.ttf"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a text looks; `size` in logical pixels."""

    size: float
    bold: bool = False
    color: Color = INK


@dataclass(frozen=True, slots=True)
class Lettering:
    """Loads fonts and measures text; `font` is the file of a font to be used in place of our own.

    Our own (Source Sans Pro) knows Latin, Greek and Cyrillic.
    """

    font: str = ""

    def load(self, style: Style, *, scale: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """The font in device pixels. Raises OSError when `font` cannot be read."""
        return _load(self.font, style.bold, round(style.size * scale, 1))

    def fit(self, text: str, *, style: Style, scale: float, width: float) -> str:
        """The text on one line and no wider than `width` logical pixels, with an ellipsis where it was cut."""
        font = self.load(style, scale=scale)
        line = " ".join(text.split())
        if font.getlength(line) <= width * scale:
            return line
        fits, cut = 0, len(line)
        while fits < cut:
            middle = (fits + cut + 1) // 2
            if font.getlength(line[:middle].rstrip() + ELLIPSIS) <= width * scale:
                fits = middle
            else:
                cut = middle - 1
        return line[:fits].rstrip() + ELLIPSIS

    def wrap(self, text: str, *, style: Style, scale: float, width: float, lines: int) -> list[str]:
        """The text in at most so many lines, broken between words; the last one has what is left, cut if need be."""
        font = self.load(style, scale=scale)
        rest = text.split()
        wrapped: list[str] = []
        while rest and len(wrapped) < lines - 1:
            count = 1
            while count < len(rest) and font.getlength(" ".join(rest[: count + 1])) <= width * scale:
                count += 1
            wrapped.append(self.fit(" ".join(rest[:count]), style=style, scale=scale, width=width))
            rest = rest[count:]
        if rest:
            wrapped.append(self.fit(" ".join(rest), style=style, scale=scale, width=width))
        return wrapped

    def width(self, text: str, *, style: Style, scale: float) -> float:
        """The width of the text in logical pixels."""
        return self.load(style, scale=scale).getlength(text) / scale


@functools.lru_cache(maxsize=64)
def _load(path: str, bold: bool, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if path:
        return ImageFont.truetype(path, size)
    spec = importlib.util.find_spec("font_source_sans_pro")
    if spec is None or spec.origin is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(Path(spec.origin).parent / "files" / FILES[bold]), size)
