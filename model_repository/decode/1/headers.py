"""Read from an encoded image how large it says it is, and how much work, without decoding and without allocating."""

from __future__ import annotations

import re
import struct

__all__ = ["declared_size", "jpeg_scans"]

# Start-of-frame markers of JPEG; C4, C8 and CC lie in the same range but are Huffman tables, a reserved
# extension and arithmetic conditioning.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
# What ends coded data: neither a stuffed byte nor a restart, which belong to it.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def declared_size(data: bytes) -> tuple[str, int, int]:
    """Name the format (as Pillow spells it) and give the declared width and height in pixels.

    A JPEG whose start of frame cannot be found counts as damaged. Raises ValueError for anything that is not
    a JPEG, PNG, WebP or GIF, or that ends before its size is said.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return ("JPEG", *_jpeg(data))
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ("PNG", *_png(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return ("WEBP", *_webp(data))
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return ("GIF", *_gif(data))
    except (struct.error, IndexError) as error:
        raise ValueError("the image ends inside its header") from error
    raise ValueError("not a JPEG, PNG, WebP or GIF image")


def jpeg_scans(data: bytes) -> int:
    """How often the decoder goes over the whole picture; a scan of a large one may take no more than 30 bytes."""
    scans, at = 0, 2
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        # Whatever a segment holds is no marker.
        at += int.from_bytes(data[at : at + 2], "big")
    return scans


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        at = _next_marker(data, at)
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker in (0xD9, 0xDA):  # the end, or coded data, before any frame
            raise ValueError("the JPEG declares no size")
        if marker not in _WITHOUT_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]


def _next_marker(data: bytes, at: int) -> int:
    found = data.find(b"\xff", at)
    if found < 0:
        raise ValueError("the image ends inside its header")
    return found


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("the PNG does not begin with its header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(_exactly(data, 24, 3), "little"), 1 + int.from_bytes(_exactly(data, 27, 3), "little")
    if kind == b"VP8L":
        bits = int.from_bytes(_exactly(data, 21, 4), "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("the WebP begins with an unknown chunk")


def _exactly(data: bytes, at: int, count: int) -> bytes:
    found = data[at : at + count]
    if len(found) < count:
        raise ValueError("the image ends inside its header")
    return found
