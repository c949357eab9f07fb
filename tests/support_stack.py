"""What tests of the running stack share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lookalike.v1.garment_pb2 import Box

__all__ = ["Stack", "jpeg", "overlap"]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: its address, where it keeps things, and the catalog file it was filled from."""

    address: str
    directory: Path
    catalog: Path


def jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """RGB pixels as JPEG."""
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return bytes(coded.tobytes())


def overlap(one: Box, other: Box) -> float:
    """IoU."""
    width = max(0.0, min(one.x1, other.x1) - max(one.x0, other.x0))
    height = max(0.0, min(one.y1, other.y1) - max(one.y0, other.y0))
    areas = [(box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
