"""What is kept of a photograph to recognize it: a miniature, and key points that crops and re-encoding leave alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.errors import ImageUnreadable

__all__ = ["FORMAT", "LEVELS", "NUMBERS", "Fingerprint", "codes_in", "fingerprint", "packed", "unpacked"]

FORMAT: Final = 1
"""Changes whenever fingerprints of before cannot be compared with new ones."""
NUMBERS: Final = 128
# Of a descriptor's numbers, as roots of shares, three in ten lie below the first, six below the second, 85 in 100 below
# the third. One bit for each of these is the thermometer code, whose Hamming distance is the distance in levels.
LEVELS: Final = (0.023, 0.068, 0.133)
CODE_BYTES: Final = NUMBERS * len(LEVELS) // 8
MINIATURE: Final = 128
# Key points are looked for at this size, whatever the photo's: a picture and its enlargement then have the same ones.
LOOKED_AT: Final = 192
MOST_POINTS: Final = 128
# Lower than OpenCV's 0.04: plain cloth on a plain ground has few strong corners.
CONTRAST: Final = 0.008
QUALITY: Final = 90
# JPEGs larger than so many bytes are decoded at a fraction of their size, which takes a fraction of the time.
REDUCED: Final = ((1_000_000, cv2.IMREAD_REDUCED_COLOR_4), (150_000, cv2.IMREAD_REDUCED_COLOR_2))
# A mirrored patch has its rows and its directions in reverse; OpenCV writes 4 rows x 4 columns x 8 directions.
MIRRORED_NUMBERS: Final = np.arange(NUMBERS).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`miniature` is (h, w, 3) uint8 BGR, its longest side 128; `points` (n, 2) float32 are pixels of it, n <= 128.

    `codes` is (n, 48) uint8: which of three levels each number of a SIFT descriptor exceeds. By Hamming distance
    they find as much as the descriptors do, in three eighths of the bytes.
    """

    miniature: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    codes: npt.NDArray[np.uint8]

    def mirrored(self) -> Fingerprint:
        """That of the mirrored photo, left and right exchanged."""
        points = self.points.copy()
        points[:, 0] = self.miniature.shape[1] - 1 - points[:, 0]
        bits = np.unpackbits(self.codes, axis=1).reshape(-1, len(LEVELS), NUMBERS)[..., MIRRORED_NUMBERS]
        codes = np.packbits(bits.reshape(-1, len(LEVELS) * NUMBERS), axis=1)
        return Fingerprint(np.ascontiguousarray(self.miniature[:, ::-1]), points, codes)


def fingerprint(content: bytes) -> Fingerprint:
    """Look at an encoded photo, upright. Raises ImageUnreadable."""
    pixels = _decoded(content)
    gray = cv2.cvtColor(_fitted(pixels, LOOKED_AT), cv2.COLOR_BGR2GRAY)
    miniature = _fitted(pixels, MINIATURE)
    detector = cv2.SIFT_create(nfeatures=MOST_POINTS, contrastThreshold=CONTRAST)  # type: ignore[attr-defined]
    found, descriptors = detector.detectAndCompute(gray, None)
    found = found[:MOST_POINTS]
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    # The middle of the first pixel is at 0 in both sizes.
    points = np.maximum((points + 0.5) * (MINIATURE / LOOKED_AT) - 0.5, 0)
    codes = np.zeros((0, CODE_BYTES), np.uint8) if descriptors is None else _coded(descriptors[:MOST_POINTS])
    return Fingerprint(miniature, points.astype(np.float32), codes)


def _coded(descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(n, 128) -> (n, 48); roots of shares (RootSIFT, Arandjelovic and Zisserman 2012) weigh all numbers alike."""
    roots = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1))
    return np.packbits(np.concatenate([roots > level for level in LEVELS], axis=1), axis=1)


def _decoded(content: bytes) -> npt.NDArray[np.uint8]:
    coded = np.frombuffer(content, np.uint8)
    flags = [flag for size, flag in REDUCED if len(content) > size]
    try:
        for flag in (*flags, cv2.IMREAD_COLOR):
            pixels = cv2.imdecode(coded, flag) if len(coded) else None
            if pixels is not None and (flag == cv2.IMREAD_COLOR or max(pixels.shape[:2]) >= LOOKED_AT):
                return np.asarray(pixels, np.uint8)
    except cv2.error as error:
        raise ImageUnreadable("these bytes are no image") from error
    raise ImageUnreadable("these bytes are no image")


def _fitted(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The same picture with its longest side so long."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )


def packed(seen: Fingerprint) -> bytes:
    """The fingerprint in about 11 KB: number of points, points in 1/256 pixel, codes, miniature as JPEG."""
    jpeg = bytes(cv2.imencode(".jpg", seen.miniature, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
    points = np.clip(np.rint(seen.points * 256), 0, 65535).astype("<u2")
    return b"".join((len(points).to_bytes(2, "little"), points.tobytes(), seen.codes.tobytes(), jpeg))


def unpacked(content: bytes) -> Fingerprint:
    """Read what `packed` wrote."""
    codes_at, jpeg_at = _places(content)
    points = np.frombuffer(content[2:codes_at], "<u2").reshape(-1, 2).astype(np.float32) / 256
    miniature = cv2.imdecode(np.frombuffer(content[jpeg_at:], np.uint8), cv2.IMREAD_COLOR)
    return Fingerprint(np.asarray(miniature, np.uint8), points, codes_in(content))


def codes_in(content: bytes) -> npt.NDArray[np.uint8]:
    """The codes alone, which is quick."""
    codes_at, jpeg_at = _places(content)
    return np.frombuffer(content[codes_at:jpeg_at], np.uint8).reshape(-1, CODE_BYTES)


def _places(content: bytes) -> tuple[int, int]:
    """Where codes and miniature begin."""
    count = int.from_bytes(content[:2], "little")
    return 2 + count * 4, 2 + count * (4 + CODE_BYTES)
