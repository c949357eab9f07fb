"""Whatever bytes come, decoding gives a picture within bounds or a DecodeError."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parents[2] / "model_repository" / "decode" / "1"))
with atheris.instrument_imports(include=["decoding", "headers", "PIL"]):
    from decoding import DecodeError, Limits, decode, letterbox  # type: ignore[import-not-found]

# Small, so that a picture that takes long to decode is one that does so for no good reason.
LIMITS = Limits(max_bytes=8192, max_pixels=1_000_000, longest_side=256)


def one_input(data: bytes) -> None:
    """Decode it."""
    try:
        pixels = decode(data, limits=LIMITS)
    except DecodeError as error:
        assert error.reason in ("IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")
        return
    height, width, channels = pixels.shape
    assert 1 <= max(height, width) <= LIMITS.longest_side and min(height, width) >= 1 and channels == 3
    square, frame = letterbox(pixels, size=64)
    assert square.shape == (1, 3, 64, 64) and frame.shape == (1, 5)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
