"""Bytes of files and addresses: bounded in number, size and time, tried again when a failure passes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lookalike.catalogs.extra import needs_extra
from lookalike.catalogs.locations import Location, protocol_of
from lookalike.errors import ImageTooLarge
from lookalike.values import MAX_IMAGE_BYTES, load_image

__all__ = ["Fetcher", "Unfetchable"]

# HTTP: what another attempt may heal.
PASSING = (408, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 20.0
CHUNK = 256 * 1024

Result = TypeVar("Result")


class Unfetchable(Exception):
    """A file or address gives no bytes; the text says why, without naming it."""


class _Passing(Exception):
    """A failure after which another attempt may succeed; seconds to wait when the other side asks for them."""

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Fetcher:
    """Reads images and catalogs, `concurrency` of them at once.

    `timeout` is in seconds, for one attempt at an image; a catalog may take longer as long as bytes arrive. Settings
    and credentials of addresses are those of fsspec (FSSPEC_HTTP, FSSPEC_S3, ~/.config/fsspec) and of each store's
    own library (AWS_ACCESS_KEY_ID, ~/.aws); proxies are taken from the environment.
    """

    def __init__(self, *, concurrency: int = 16, timeout: float = 30.0, attempts: int = 4) -> None:
        self._timeout = timeout
        self._attempts = attempts
        self._places = asyncio.Semaphore(concurrency)
        self._file_systems: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file_system in self._file_systems.values():
            if hasattr(file_system, "set_session"):
                await (await file_system.set_session()).close()
        self._file_systems.clear()

    async def read_image(self, location: Location) -> bytes:
        """An image's encoded bytes. Raises Unfetchable, for a large one before more than 20 MiB are read."""
        async with self._places:
            if isinstance(location, Path):
                try:
                    return await asyncio.to_thread(load_image, location)
                except (OSError, ValueError, ImageTooLarge) as error:
                    raise Unfetchable(_why(error)) from error
            file_system = self.file_system(location)
            read = _read_http if _is_http(location) else _read_object
            return await self._retried(lambda: read(file_system, location, timeout=self._timeout))

    async def download(self, address: str, path: Path) -> None:
        """A file of any size into a file of this machine. Raises Unfetchable."""
        file_system = self.file_system(address)
        if _is_http(address):
            await self._retried(lambda: _download_http(file_system, address, path, timeout=self._timeout))
        else:
            await self._retried(lambda: file_system._get_file(address, str(path)))

    async def find(self, address: str) -> list[str]:
        """The paths of all files in a folder, relative to it. Raises Unfetchable."""
        if _is_http(address):
            raise Unfetchable("is no .csv, .jsonl or .parquet file, and folders cannot be listed over http")
        file_system = self.file_system(address)
        root = str(file_system._strip_protocol(address)).strip("/")
        found = await self._retried(lambda: file_system._find(address))
        return [str(path).strip("/").removeprefix(f"{root}/") for path in found]

    def file_system(self, address: str) -> Any:  # noqa: ANN401 - a class of fsspec, which has no types
        """The asynchronous fsspec file system of the address, one per protocol."""
        protocol = "http" if _is_http(address) else protocol_of(address)
        if protocol not in self._file_systems:
            with needs_extra(f"reading {protocol}:// addresses"):
                self._file_systems[protocol] = _open_file_system(protocol)
        return self._file_systems[protocol]

    async def _retried(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        for failed in range(1, self._attempts + 1):
            try:
                return await attempt()
            except Exception as error:
                passing = _judge(error)
                if failed == self._attempts:
                    raise Unfetchable(f"{passing}; tried {failed} times") from error
                backoff = 0.25 * 2**failed * random.uniform(0.5, 1.0)
                await asyncio.sleep(max(passing.wait, backoff))
        raise AssertionError("unreachable")


def _open_file_system(protocol: str) -> Any:  # noqa: ANN401
    import fsspec
    import fsspec.config
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    options: dict[str, object] = {}
    if protocol == "http":
        # Proxies and ~/.netrc, as every command honors them; the user's own settings win.
        settings = fsspec.config.conf.get("http", {})
        options["client_kwargs"] = {"trust_env": True, **settings.get("client_kwargs", {})}
    if fsspec.get_filesystem_class(protocol).async_impl:
        return fsspec.filesystem(protocol, asynchronous=True, skip_instance_cache=True, **options)
    return AsyncFileSystemWrapper(fsspec.filesystem(protocol, **options), asynchronous=True)


def _is_http(address: str) -> bool:
    return protocol_of(address) in ("http", "https")


async def _read_object(file_system: Any, address: str, *, timeout: float) -> bytes:  # noqa: ANN401
    async with asyncio.timeout(timeout):
        size = (await file_system._info(address)).get("size") or 0
        _check_size(size)
        return bytes(await file_system._cat_file(address))


async def _read_http(file_system: Any, url: str, *, timeout: float) -> bytes:  # noqa: ANN401
    async with asyncio.timeout(timeout):
        session = await file_system.set_session()
        async with session.get(file_system.encode_url(url), **file_system.kwargs) as response:
            _check_status(response)
            _check_size(response.content_length or 0)
            content = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK):
                content += chunk
                _check_size(len(content))
            return bytes(content)


async def _download_http(file_system: Any, url: str, path: Path, *, timeout: float) -> None:  # noqa: ANN401
    import aiohttp

    session = await file_system.set_session()
    bounds = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    async with session.get(file_system.encode_url(url), **{**file_system.kwargs, "timeout": bounds}) as response:
        _check_status(response)
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(CHUNK):
                await asyncio.to_thread(file.write, chunk)


def _check_status(response: Any) -> None:  # noqa: ANN401 - aiohttp.ClientResponse, which is not always installed
    if response.status < 400:
        return
    reason = f"{response.status} {response.reason or ''}".strip()
    if response.status not in PASSING:
        raise Unfetchable(reason)
    asked = response.headers.get("Retry-After", "")
    raise _Passing(reason, wait=min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0)


def _check_size(size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise Unfetchable(
            f"an image may have {MAX_IMAGE_BYTES // 2**20} MiB and this one has more: save it smaller, "
            "1024 pixels on the longest side are plenty"
        )


def _judge(error: Exception) -> _Passing:
    """The failure if it may pass; raises it otherwise, as Unfetchable."""
    if isinstance(error, _Passing):
        return error
    if isinstance(error, Unfetchable):
        raise error
    if isinstance(error, FileNotFoundError):
        raise Unfetchable("it does not exist") from error
    if isinstance(error, TimeoutError):
        return _Passing("it took too long")
    # What aiohttp raises when a connection breaks comes without its class where aiohttp is not installed.
    is_broken = isinstance(error, OSError) or any(kind.__name__ == "ClientError" for kind in type(error).__mro__)
    is_final = isinstance(error, (PermissionError, IsADirectoryError, ValueError))
    if is_broken and not is_final:
        return _Passing(str(error) or type(error).__name__)
    raise Unfetchable(_why(error)) from error


def _why(error: Exception) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return text or type(error).__name__
