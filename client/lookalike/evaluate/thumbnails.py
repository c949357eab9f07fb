"""Small pictures for a report, as data URIs: photos with the garment that was searched, and products."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from lookalike.catalogs.fetching import Fetcher, Unfetchable
from lookalike.catalogs.locations import LocationInvalid, is_address, resolve
from lookalike.evaluate.judgments import Region
from lookalike.pictures.canvas import Canvas
from lookalike.pictures.colors import PAPER, garment_color
from lookalike.pictures.lettering import Lettering
from lookalike.pictures.photo import open_photo
from lookalike.pictures.store import stored_path

__all__ = ["ProductPictures", "photo_uri"]

# Device pixels of the longest side; twice what the page shows, for fine screens.
PHOTO, PRODUCT = 560, 220
QUALITY = 80


class ProductPictures:
    """Pictures of products by their image id, from a server's image store: a folder of this machine, or an address.

    Without a place there are none.
    """

    def __init__(self, place: str, fetcher: Fetcher) -> None:
        self._base = f"{place.rstrip('/')}/" if is_address(place) else Path(place)
        self._fetcher = fetcher if place else None
        self._made: dict[str, str] = {}

    async def uri(self, image_id: str) -> str:
        """The picture as a data URI; empty when there is none at hand."""
        path = stored_path(image_id)
        if self._fetcher is None or not path:
            return ""
        if image_id not in self._made:
            try:
                content = await self._fetcher.read_image(resolve(path, base=self._base))
                self._made[image_id] = await asyncio.to_thread(_product, content)
            except (Unfetchable, LocationInvalid, OSError, ValueError, Image.DecompressionBombError):
                # One picture that is missing or broken shall not cost the report.
                self._made[image_id] = ""
        return self._made[image_id]


def photo_uri(content: bytes, *, box: Region | None) -> str:
    """The photo with a frame around the garment, as a data URI; empty when it cannot be drawn."""
    try:
        image = open_photo(content)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    image.thumbnail((PHOTO, PHOTO), Image.Resampling.LANCZOS)
    if box:
        x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in box)
        canvas = Canvas(image, scale=2, lettering=Lettering())
        width, height = canvas.width, canvas.height
        rect = (x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height)
        canvas.outline(rect, PAPER, radius=5, line=4, opacity=0.8)
        x, y, wide, high = rect
        canvas.outline((x + 1, y + 1, wide - 2, high - 2), garment_color(0), radius=4, line=2)
    return _uri(image)


def _product(content: bytes) -> str:
    image = open_photo(content)
    image.thumbnail((PRODUCT, PRODUCT), Image.Resampling.LANCZOS)
    return _uri(image)


def _uri(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
