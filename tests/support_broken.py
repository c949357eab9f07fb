"""Broken and hostile pictures."""

from __future__ import annotations

import struct
import zlib

__all__ = ["bomb", "oversized", "truncated"]


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG whose header declares width x height pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def oversized(size: int) -> bytes:
    """A JPEG's first bytes, then zeros."""
    return b"\xff\xd8\xff\xe0" + bytes(size - 4)


def truncated(image: bytes) -> bytes:
    """The first two thirds."""
    return image[: len(image) * 2 // 3]
