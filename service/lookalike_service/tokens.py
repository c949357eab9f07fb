"""Garment and page tokens: opaque, authenticated, and bound to what they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lookalike_service.errors import GarmentTokenInvalid, PageTokenInvalid
from lookalike_service.model import Box, Garment, Looks, Source

__all__ = ["GarmentMemory", "Tokens", "compact", "expanded", "fingerprint"]

LONGEST_TOKEN = 32768
NONCE_BYTES = 12
KEY_ID_BYTES = 4
FORMAT = b"\x02"
# expiry, embedding version, source, score, box; then catalog, category, region id, looks and vector, each with its
# length.
GARMENT = struct.Struct("<QiBf4f")
# offset, embedding version
PAGE = struct.Struct("<II")
NO_LOOKS = Looks()


@dataclass(frozen=True, slots=True)
class GarmentMemory:
    """What a garment token holds; `vector` is what `compact` made of the embedding."""

    catalog: str
    embedding_version: int
    box: Box
    source: Source
    score: float
    category: str
    region_id: str
    looks: Looks
    vector: bytes


def compact(embedding: npt.NDArray[np.float32]) -> bytes:
    """The vector as float16, little endian."""
    return embedding.astype("<f2").tobytes()


def expanded(vector: bytes) -> npt.NDArray[np.float32]:
    """The (d,) float32 vector of unit length that `compact` was given, but for rounding."""
    embedding = np.frombuffer(vector, dtype="<f2").astype(np.float32)
    unit: npt.NDArray[np.float32] = embedding / np.float32(max(float(np.linalg.norm(embedding)), 1e-6))
    return unit


class Tokens:
    """Makes and reads tokens with AES-GCM; the first key writes, every key reads, so that keys can be rotated."""

    def __init__(self, keys: Sequence[str] = (), *, lifetime: float, now: Callable[[], float] = time.time) -> None:
        """`lifetime` in seconds; without keys a random one is made."""
        secrets = [key.encode() for key in keys] or [os.urandom(32)]
        derived = [hashlib.sha256(b"lookalike tokens" + secret).digest() for secret in secrets]
        self._ciphers = {hashlib.sha256(key).digest()[:KEY_ID_BYTES]: AESGCM(key) for key in derived}
        self._writer = next(iter(self._ciphers))
        self._lifetime = lifetime
        self._now = now

    def of_garment(
        self, garment: Garment, *, catalog: str, embedding_version: int, region_id: str = "", looks: Looks = NO_LOOKS
    ) -> str:
        """The token of a garment that a search has just described."""
        box = garment.box
        head = GARMENT.pack(
            int(self._now() + self._lifetime), embedding_version, int(garment.source), garment.score,
            box.x0, box.y0, box.x1, box.y1,
        )  # fmt: skip
        shares = (f"{name}:{share:.2f}" for name, share in looks.colours.items())
        texts = [catalog, garment.category, region_id, "|".join([looks.pattern, *shares])]
        parts = [*(text.encode() for text in texts), compact(garment.embedding)]
        return self._seal(head + b"".join(struct.pack("<H", len(part)) + part for part in parts), kind=b"garment")

    def read_garment(self, token: str, *, catalog: str, dimensions: Mapping[int, int]) -> GarmentMemory:
        """`dimensions` are the lengths of the vectors of each embedding version that can answer.

        Raises GarmentTokenInvalid: altered, expired, of another catalog or of an embedding version that is no more.
        """
        again = "search with the photo again to get a new one"
        body = self._open(token, kind=b"garment")
        if body is None:
            raise GarmentTokenInvalid(f"the garment token was altered or is of another server; {again}")
        expiry, version, source, score, *corners = GARMENT.unpack_from(body)
        if expiry < self._now():
            raise GarmentTokenInvalid(f"the garment token has expired; {again}")
        *texts, vector = _parts(body[GARMENT.size :])
        of_catalog, category, region_id, looks = (text.decode() for text in texts)
        if of_catalog != catalog:
            raise GarmentTokenInvalid("the garment token is of another catalog")
        if len(vector) != 2 * dimensions.get(version, -1):
            served = " and ".join(map(str, sorted(dimensions))) or "none"
            raise GarmentTokenInvalid(
                f"the garment token holds a vector of version {version}, served is {served}; {again}"
            )
        return GarmentMemory(
            catalog, version, Box(*corners), Source(source), score, category, region_id, _looks(looks), vector
        )

    def of_page(self, offset: int, *, embedding_version: int, request: bytes) -> str:
        """The token of the page that begins behind `offset` results of the request with this fingerprint."""
        return self._seal(PAGE.pack(offset, embedding_version), kind=b"place" + request)

    def read_page(self, token: str, *, request: bytes) -> tuple[int, int]:
        """Offset and embedding version. Raises PageTokenInvalid when it was altered or is of another request."""
        body = self._open(token, kind=b"place" + request)
        if body is None:
            raise PageTokenInvalid(
                "the page token was altered, has outlived the server, or belongs to a request with other fields; "
                "begin again without one"
            )
        offset, version = PAGE.unpack(body)
        return int(offset), int(version)

    def after_name(self, name: str, *, request: bytes) -> str:
        """The token of the page of a list that begins behind a name."""
        return self._seal(name.encode(), kind=b"list" + request)

    def read_name(self, token: str, *, request: bytes) -> str:
        """The name behind which the page begins. Raises PageTokenInvalid as `read_page` does."""
        body = self._open(token, kind=b"list" + request)
        if body is None:
            raise PageTokenInvalid(
                "the page token was altered, has outlived the server, or belongs to a list with other fields; "
                "begin again without one"
            )
        return body.decode()

    def _seal(self, body: bytes, *, kind: bytes) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._writer].encrypt(nonce, body, kind)
        return base64.urlsafe_b64encode(FORMAT + self._writer + nonce + sealed).rstrip(b"=").decode()

    def _open(self, token: str, *, kind: bytes) -> bytes | None:
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            data = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        # base64 has several texts for the same bytes ("+" for "-", spare bits at the end); ours is one of them.
        if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != token:
            return None
        key_id, rest = data[1 : 1 + KEY_ID_BYTES], data[1 + KEY_ID_BYTES :]
        cipher = self._ciphers.get(key_id)
        if data[:1] != FORMAT or cipher is None or len(rest) <= NONCE_BYTES:
            return None
        try:
            return cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], kind)
        except InvalidTag:
            return None


def fingerprint(*parts: object) -> bytes:
    """A digest of the fields that a page token is bound to."""
    return hashlib.sha256("\x00".join(map(repr, parts)).encode()).digest()[:16]


def _looks(text: str) -> Looks:
    pattern, *shares = text.split("|")
    pairs = (share.rpartition(":") for share in shares)
    return Looks({name: float(share) for name, _, share in pairs}, pattern)


def _parts(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        (length,) = struct.unpack_from("<H", data, position)
        parts.append(data[position + 2 : position + 2 + length])
        position += 2 + length
    return parts
