"""What a browser sends: a message as JSON, alone or with a photo beside it, read no further than it may be long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import BodyPartReader, web

from lookalike_service.errors import DeadlineExceeded, ImageTooLarge, RequestInvalid

__all__ = ["MOST_JSON", "Upload", "length_of", "read_upload"]

MOST_JSON: Final = 128 * 1024
# Boundaries and headers of the parts.
AROUND: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A message of the contract as JSON, and the photo that was sent with it."""

    message: dict[str, Any]
    image: bytes = b""


def length_of(request: web.Request, *, max_image_bytes: int) -> int:
    """How long a body is at most, before a byte of it is read. Raises ImageTooLarge, RequestInvalid."""
    most = MOST_JSON
    if request.content_type == "multipart/form-data":
        most += max_image_bytes + AROUND
    elif request.content_type != "application/json":
        raise RequestInvalid("a request is application/json, or multipart/form-data with a photo")
    length = request.content_length
    if length is not None and length > most:
        raise _too_long(most) if most == MOST_JSON else _photo_too_large(max_image_bytes)
    return most if length is None else length


async def read_upload(request: web.Request, *, max_image_bytes: int, seconds: float) -> Upload:
    """The body of a request. Raises RequestInvalid, ImageTooLarge, DeadlineExceeded."""
    try:
        async with asyncio.timeout(seconds):
            if request.content_type == "multipart/form-data":
                return await _parts(request, max_image_bytes)
            return Upload(_message(await _bounded(request.content.readany, MOST_JSON, _too_long(MOST_JSON))))
    except TimeoutError:
        raise DeadlineExceeded(f"the request did not arrive within {seconds:g} s; send a smaller photo") from None


async def _parts(request: web.Request, max_image_bytes: int) -> Upload:
    message: dict[str, Any] = {}
    image = b""
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if isinstance(part, BodyPartReader) and part.name == "image":
                image = await _bounded(part.read_chunk, max_image_bytes, _photo_too_large(max_image_bytes))
            elif isinstance(part, BodyPartReader) and part.name == "request":
                message = _message(await _bounded(part.read_chunk, MOST_JSON, _too_long(MOST_JSON)))
            else:
                raise RequestInvalid("the parts of a request are `request` and `image`")
    except (ValueError, web.HTTPException) as error:
        raise RequestInvalid("the parts of the request cannot be told apart") from error
    return Upload(message, image)


async def _bounded(read: Callable[[], Awaitable[bytes]], most: int, error: RequestInvalid) -> bytes:
    content = bytearray()
    while chunk := await read():
        content += chunk
        if len(content) > most:
            raise error
    return bytes(content)


def _message(content: bytes) -> dict[str, Any]:
    try:
        message = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise RequestInvalid("the request is not JSON") from error
    if not isinstance(message, dict):
        raise RequestInvalid("the request is a JSON object")
    return message


def _photo_too_large(most: int) -> ImageTooLarge:
    return ImageTooLarge(f"the photo has more than {most:,} bytes; send a smaller one")


def _too_long(most: int) -> RequestInvalid:
    return RequestInvalid(f"the request has more than {most:,} bytes, the photo aside")
