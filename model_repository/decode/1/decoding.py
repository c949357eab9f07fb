"""Turn an encoded photo into upright RGB pixels of a bounded size, and those into the detector's input."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from headers import declared_size, jpeg_scans
from PIL import Image

__all__ = ["DecodeError", "Limits", "decode", "letterbox"]

# The grey of the padding around photos and crops; YOLO's letterbox made it the custom.
GREY = 114
_EXIF_ORIENTATION = 0x0112
# Progressive JPEGs have 10 scans by custom; the largest picture may have this many, a smaller one more in proportion.
_SCANS = 32


class DecodeError(ValueError):
    """The bytes cannot become a picture; `reason` is IMAGE_UNREADABLE or IMAGE_TOO_LARGE."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted, and how large the result may be."""

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    longest_side: int = 1024


def decode(data: bytes, *, limits: Limits) -> npt.NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP or GIF (its first frame) into upright RGB pixels.

    Returns (h, w, 3) uint8, longest side at most `limits.longest_side`; transparency lies over white, 16 bits
    become 8, EXIF orientation is applied. The declared size is judged before anything is decoded. Raises
    DecodeError: IMAGE_TOO_LARGE for too many bytes or pixels, IMAGE_UNREADABLE for whatever is no complete image.
    """
    kind = _check_declared(data, limits)
    # A frame may be larger than the header declares, and Pillow allocates for it while it opens the image. What it only
    # warns of, less than twice as many pixels, is refused below.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_pixels(*image.size, limits)  # a GIF's first frame may be larger than its screen
            if kind == "JPEG":
                _draft(image, limits.longest_side)
            image.load()
            pixels = _rgb(_reduced(image, limits.longest_side))
            orientation = _orientation(image)
    except (DecodeError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError("IMAGE_TOO_LARGE", "the image holds a frame larger than it declares") from error
    except Exception as error:  # Pillow's plugins raise all kinds of errors on hostile bytes
        raise DecodeError("IMAGE_UNREADABLE", f"the {kind} image is damaged or incomplete") from error
    return _upright(_fit(pixels, limits.longest_side), orientation)


def letterbox(pixels: npt.NDArray[np.uint8], *, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Fit (h, w, 3) pixels into a grey square, centred.

    Returns the square, (1, 3, size, size) uint8, and the frame, (1, 5) float32: scale, pad_x, pad_y (a pixel x of
    the photo lies at x * scale + pad_x in the square), width and height of the photo in pixels.
    """
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    pad_x, pad_y = (size - inner_width) // 2, (size - inner_height) // 2
    square = np.full((size, size, 3), GREY, np.uint8)
    inner = square[pad_y : pad_y + inner_height, pad_x : pad_x + inner_width]
    inner[:] = _resized(pixels, inner_width, inner_height)
    frame = np.array([[scale, pad_x, pad_y, width, height]], np.float32)
    return np.ascontiguousarray(square.transpose(2, 0, 1))[None], frame


def _check_declared(data: bytes, limits: Limits) -> str:
    if not data:
        raise DecodeError("IMAGE_UNREADABLE", "the image is empty")
    if len(data) > limits.max_bytes:
        raise DecodeError("IMAGE_TOO_LARGE", f"the image has {len(data)} bytes; at most {limits.max_bytes} are allowed")
    try:
        kind, width, height = declared_size(data)
    except ValueError as error:
        raise DecodeError("IMAGE_UNREADABLE", str(error)) from error
    _check_pixels(width, height, limits)
    if kind == "JPEG" and jpeg_scans(data) * width * height > _SCANS * limits.max_pixels:
        raise DecodeError("IMAGE_TOO_LARGE", "the JPEG goes over its pixels too many times; save it as a plain one")
    return kind


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise DecodeError("IMAGE_UNREADABLE", f"the image declares {width} x {height} pixels")
    if width * height > limits.max_pixels:
        message = f"the image declares {width} x {height} pixels; at most {limits.max_pixels} in all are allowed"
        raise DecodeError("IMAGE_TOO_LARGE", message)


def _draft(image: Image.Image, longest_side: int) -> None:
    """Let the JPEG decoder scale by 1/2, 1/4 or 1/8 while it decodes, never below the wanted size."""
    scale = longest_side / max(image.size)
    if scale < 1:
        image.draft(None, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _reduced(image: Image.Image, longest_side: int) -> Image.Image:
    """Average a far too large picture down by a whole factor, before copies of it are made."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        image = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    factor = max(image.size) // longest_side
    return image.reduce(factor) if factor > 1 else image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Keep the upper eight of 16 bits of grey; Pillow's own conversion would cut everything above 255 to white."""
    values = np.asarray(image)
    return Image.fromarray(np.clip(values >> 8, 0, 255).astype(np.uint8))


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    values: npt.NDArray[np.uint8] = np.asarray(image)
    if image.mode == "L":
        return np.asarray(cv2.cvtColor(values, cv2.COLOR_GRAY2RGB), np.uint8)
    if image.mode == "RGB":
        return values
    values = values if image.mode == "RGBA" else np.asarray(image.convert("RGBA"))
    alpha = values[:, :, 3:].astype(np.uint16)
    over_white = values[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((over_white + 127) // 255).astype(np.uint8)


def _fit(pixels: npt.NDArray[np.uint8], longest_side: int) -> npt.NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    return _resized(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _resized(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF never spoils a picture that decodes
        return 1


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Apply EXIF orientation 1..8 (CIPA DC-008, tag Orientation); other values count as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
