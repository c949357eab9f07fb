"""Whether bytes are an image that a server takes, without asking one."""

from __future__ import annotations

import warnings
from io import BytesIO

from PIL import Image, UnidentifiedImageError

__all__ = ["image_problem"]

# GIF as its first frame; MPO, what some cameras write, is opened as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# The served model's own limit.
MOST_PIXELS = 50_000_000


def image_problem(content: bytes) -> str:
    """What is wrong with the image ("is truncated"), or "" when it decodes."""
    try:
        with warnings.catch_warnings():
            # A decompression bomb is judged by our own limit.
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    return f"has {width} x {height} pixels; at most {MOST_PIXELS:,} in all"
                # JPEG: an eighth of the size takes a fraction of the time, and still reads to the last byte.
                image.draft("RGB", (width // 8, height // 8))
                image.load()
    except UnidentifiedImageError:
        return f"is no JPEG, PNG or WebP (it begins with {content[:12]!r})"
    except Image.DecompressionBombError:
        return f"has too many pixels; at most {MOST_PIXELS:,} in all"
    except (OSError, SyntaxError, ValueError) as error:
        return f"is broken ({error})"
    return ""
