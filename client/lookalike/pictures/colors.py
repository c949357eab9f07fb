"""The colors of the pictures."""

from __future__ import annotations

from PIL import ImageColor

__all__ = ["BORDER", "GROUND", "INK", "LINE", "MUTED", "PAPER", "Color", "blend", "garment_color", "named_color"]

Color = tuple[int, int, int]

PAPER: Color = (255, 255, 255)
GROUND: Color = (244, 245, 247)
BORDER: Color = (228, 230, 235)
LINE: Color = (236, 238, 242)
MUTED: Color = (112, 118, 130)
INK: Color = (24, 27, 34)

# One per garment, far from each other and visible on any photo.
GARMENTS = (
    "#2f6bff",
    "#ff5a36",
    "#00a06b",
    "#a63bff",
    "#f0a000",
    "#ff3b8d",
    "#00a9cf",
    "#8a5a2b",
    "#6bb300",
    "#4b4bd6",
    "#d6336c",
    "#0b7285",
    "#e8590c",
    "#5c6b7a",
    "#1b998b",
    "#9c27b0",
)

# The sixteen colors that garments are described with, and the words that other models may use for them.
NAMED: dict[str, Color] = {
    "black": (28, 28, 30),
    "white": (242, 242, 240),
    "gray": (138, 140, 143),
    "grey": (138, 140, 143),
    "beige": (214, 192, 160),
    "brown": (112, 72, 44),
    "red": (200, 32, 40),
    "pink": (240, 156, 184),
    "orange": (236, 120, 36),
    "yellow": (244, 204, 56),
    "green": (44, 140, 72),
    "olive": (104, 106, 52),
    "teal": (20, 128, 132),
    "blue": (52, 108, 200),
    "navy": (28, 38, 84),
    "purple": (124, 68, 156),
    "burgundy": (112, 24, 48),
}


def garment_color(index: int) -> Color:
    """The color of the garment at that place of an answer, counted from 0."""
    return _rgb(GARMENTS[index % len(GARMENTS)])


def named_color(name: str) -> Color | None:
    """What a color's name looks like; None for a name that nobody knows."""
    known = NAMED.get(name)
    if known is not None:
        return known
    try:
        return _rgb(name.replace("_", "").replace(" ", ""))
    except ValueError:
        return None


def blend(front: Color, back: Color, share: float) -> Color:
    """`share` of `front` over `back`."""
    r, g, b = (round(over * share + under * (1 - share)) for over, under in zip(front, back, strict=True))
    return r, g, b


def _rgb(name: str) -> Color:
    red, green, blue, *_ = ImageColor.getrgb(name)
    return red, green, blue
