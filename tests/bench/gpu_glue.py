"""What a photo costs the CPU before a GPU sees it: decode and crop, called directly on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from bench.gpu_callers import REGIONS
from support_glue import load_glue

__all__ = ["glue_cost"]


def glue_cost(repository: Path, photos: Sequence[bytes], *, rounds: int) -> dict[str, float]:
    """Milliseconds of one core to decode a photo and to cut three garments: the median over rounds of the mean."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in the served steps
    try:
        seconds = [_seconds(repository, photos) for _ in range(rounds)]
    finally:
        cv2.setNumThreads(threads)
    decode, crop = (1000 * statistics.median(part) / len(photos) for part in zip(*seconds, strict=True))
    return {"decode_ms": decode, "crop_ms": crop}


def _seconds(repository: Path, photos: Sequence[bytes]) -> tuple[float, float]:
    """Processor seconds of decode (with the letterbox, as the step does it) and of crop."""
    decoding, cropping = load_glue("decode", "decoding"), load_glue("crop", "cropping")
    decode, crop = (_parameters(repository / stage) for stage in ("decode", "crop"))
    limits = decoding.Limits(**{name: int(decode[name]) for name in ("max_bytes", "max_pixels", "longest_side")})
    garments = cropping.given(np.array(REGIONS, np.float32))
    spent = [0.0, 0.0]
    for photo in photos:
        begin = time.thread_time()
        pixels = decoding.decode(photo, limits=limits)
        decoding.letterbox(pixels, size=int(decode["letterbox_size"]))
        middle = time.thread_time()
        cropping.cut(pixels, garments, size=int(crop["crop_size"]), context=float(crop["context"]))
        spent = [spent[0] + middle - begin, spent[1] + time.thread_time() - middle]
    return spent[0], spent[1]


def _parameters(model: Path) -> dict[str, str]:
    path = model / "configs" / "gpu.pbtxt"
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    return {key: value.string_value for key, value in config.parameters.items()}
