"""Product images from the folder in which a server on this machine keeps them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lookalike.pictures.page import FetchImage
from lookalike.v1.search_service_pb2 import Hit

__all__ = ["images_in_folder", "stored_path"]


def images_in_folder(folder: str | os.PathLike[str]) -> FetchImage:
    """Finds the image that matched, else the product's first."""
    root = Path(folder)

    def fetch(hit: Hit) -> bytes | None:
        for image_id in (hit.image_id, *(image.id for image in hit.product.images)):
            path = stored_path(image_id)
            if path:
                try:
                    return (root / path).read_bytes()
                except OSError:
                    continue
        return None

    return fetch


def stored_path(image_id: str) -> str:
    """Where an image store keeps an image, by its SHA-256: `ab/cd/abcd...`; empty for what is none."""
    # The id comes from the server and becomes a path here.
    if not re.fullmatch(r"[0-9a-f]{64}", image_id):
        return ""
    return f"{image_id[:2]}/{image_id[2:4]}/{image_id}"
