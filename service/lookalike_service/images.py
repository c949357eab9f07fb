"""The photographs of the catalog, stored under the SHA-256 of their bytes in any place that fsspec knows."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lookalike_service.errors import StartupError, StoreUnavailable

__all__ = ["Images", "write_whole"]


class Images:
    """An ImageStore; its calls run in threads, so that a slow disk or bucket never holds up the event loop."""

    def __init__(self, url: str) -> None:
        """`url` as fsspec writes it. Raises StartupError when the place cannot be used."""
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
            self._files.makedirs(self._root, exist_ok=True)
        except (OSError, ValueError, ImportError) as error:
            raise StartupError(
                f"the image store {url!r} cannot be used ({error}); set LOOKALIKE_IMAGES_URL to a folder that can be "
                "written, and install the fsspec package of any other kind of place"
            ) from error
        self.url = str(self._files.unstrip_protocol(self._root))

    async def put(self, content: bytes) -> str:
        """Store the bytes durably and return their SHA-256 in hexadecimal. Raises StoreUnavailable."""
        return await asyncio.to_thread(self._put, content)

    async def get(self, sha256: str) -> bytes | None:
        """Read an image; None when there is none of that name. Raises StoreUnavailable."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            return None
        return await asyncio.to_thread(self._get, sha256)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def _put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        try:
            if self._files.exists(path):
                return sha256
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            write_whole(self._files, path, content)
        except OSError as error:
            why = "its disk is full" if error.errno == errno.ENOSPC else "is its disk full or read-only?"
            raise StoreUnavailable(f"the image store cannot be written; {why}") from error
        return sha256

    def _get(self, sha256: str) -> bytes | None:
        try:
            content: Any = self._files.cat_file(self._path(sha256))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable("the image store cannot be read") from error
        return bytes(content)


def write_whole(files: Any, path: str, content: bytes) -> None:  # noqa: ANN401 - a file system of fsspec, untyped
    """Write a file durably; other readers see all of it or nothing. Its folder must exist. Raises OSError."""
    # A bucket writes whole objects anyway.
    part = f"{path}.{secrets.token_hex(8)}.part"
    try:
        with files.open(part, "wb") as file:
            file.write(content)
            if isinstance(files, LocalFileSystem):
                file.flush()
                os.fsync(file.fileno())
        files.mv(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            files.rm_file(part)
        raise
