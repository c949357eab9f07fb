"""Photographs of products at the sizes that a page shows, made when they are asked for and kept for a while."""

from __future__ import annotations

import asyncio
import io
from typing import Final

from cachetools import LRUCache
from PIL import Image, ImageOps

from lookalike_service.errors import ImageTooLarge, ImageUnreadable
from lookalike_service.ports import ImageStore

__all__ = ["WIDTHS", "Thumbnails"]

WIDTHS: Final = (120, 240, 360, 480, 720, 1080)
"""Few sizes, so that strangers' numbers neither fill the cache nor keep the cores busy."""
QUALITY: Final = 84
# As many as the decode stage takes; more were never stored.
MOST_PIXELS: Final = 50_000_000
# Beside the searches, which matter more.
AT_ONCE: Final = 2
MEBIBYTE: Final = 1024 * 1024


class Thumbnails:
    """JPEG thumbnails of what an image store holds."""

    def __init__(self, images: ImageStore, *, mebibytes: float) -> None:
        """`mebibytes` bound the memory for those that were asked for of late."""
        self._images = images
        self._kept: LRUCache[tuple[str, int], bytes] = LRUCache(mebibytes * MEBIBYTE, getsizeof=len)
        self._working = asyncio.Semaphore(AT_ONCE)

    async def get(self, sha256: str, width: int) -> bytes | None:
        """The image as JPEG, upright, no wider than the next of WIDTHS; None when there is none of that name.

        Raises StoreUnavailable, ImageUnreadable, ImageTooLarge.
        """
        wanted = next((each for each in WIDTHS if each >= width), WIDTHS[-1])
        found = self._kept.get((sha256, wanted))
        if found is not None:
            return found
        async with self._working:
            content = await self._images.get(sha256)
            if content is None:
                return None
            made = await asyncio.to_thread(_scaled, content, wanted)
        if len(made) <= self._kept.maxsize:
            self._kept[sha256, wanted] = made
        return made


def _scaled(content: bytes, width: int) -> bytes:
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ImageTooLarge(f"the image has {image.width} x {image.height} pixels, too many for a thumbnail")
            # JPEG is decoded at an eighth, a quarter or a half of its size where that is enough.
            image.draft("RGB", (2 * width, 2 * width))
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                opaque = Image.new("RGBA", upright.size, "white")
                opaque.alpha_composite(upright.convert("RGBA"))
                upright = opaque
            upright.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
            written = io.BytesIO()
            upright.convert("RGB").save(written, "JPEG", quality=QUALITY, optimize=True, progressive=True)
            return written.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageUnreadable("the stored photograph cannot be read") from error
