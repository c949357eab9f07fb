"""Photos that were looked at a moment ago: the same photo asked for again needs no model."""

from __future__ import annotations

import hashlib
import struct

from cachetools import LRUCache

from lookalike_service.model import Found, Garment
from lookalike_service.queries import PhotoQuery

__all__ = ["RecentPhotos"]

_MEBIBYTE = 1024 * 1024
# What the labels and boxes of a garment take beside its arrays; measured with tracemalloc, rounded up.
_GARMENT_BYTES = 8192


class RecentPhotos:
    """What was found on the photos of late, as many as fit; the least recently asked for go first.

    Only in memory, and under a digest: the photo itself is not kept. With 0 MiB nothing is.
    """

    def __init__(self, mebibytes: float) -> None:
        self._found: LRUCache[bytes, Found] = LRUCache(mebibytes * _MEBIBYTE, getsizeof=_bytes_of)

    def key(self, query: PhotoQuery, *, embedding_version: int) -> bytes:
        """SHA-256 of the photo and of everything else that decides what is found on it."""
        digest = hashlib.sha256(query.image)
        digest.update(struct.pack("<qqd", embedding_version, query.max_garments, query.min_garment_score))
        for region in query.regions:
            digest.update(struct.pack("<4d", region.box.x0, region.box.y0, region.box.x1, region.box.y1))
        return digest.digest()

    def get(self, key: bytes) -> Found | None:
        """What was found, if it is still known."""
        found: Found | None = self._found.get(key)
        return found

    def put(self, key: bytes, found: Found) -> None:
        """Remember it, unless it alone is larger than all that may be kept."""
        if _bytes_of(found) <= self._found.maxsize:
            self._found[key] = found


def _bytes_of(found: Found) -> int:
    return sum(_GARMENT_BYTES + _arrays(garment) for garment in found.garments)


def _arrays(garment: Garment) -> int:
    return int(garment.landmarks.nbytes + garment.mask.nbytes + garment.embedding.nbytes)
