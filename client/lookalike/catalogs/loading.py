"""A catalog's rows with their images: several rows are fetched ahead of the one that is asked for, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from lookalike.calls import MAX_MESSAGE_BYTES
from lookalike.catalogs.fetching import Fetcher, Unfetchable
from lookalike.catalogs.locations import Location, LocationInvalid, is_address, resolve
from lookalike.catalogs.rows import ImageReference
from lookalike.catalogs.sources import Row
from lookalike.iteration import each
from lookalike.v1.product_pb2 import Product
from lookalike.values import product_image

__all__ = ["Loaded", "Rows", "check", "load"]


class Rows(Protocol):
    """A catalog, or a part of one; `base` is what its images are relative to."""

    @property
    def base(self) -> Location: ...

    def rows(self) -> Iterator[Row]:
        """Every row, read as it goes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A row with its images: a product, or what is wrong with it."""

    row: Row
    # Megabytes of image, which no message shows.
    product: Product | None = field(default=None, repr=False)
    problems: tuple[str, ...] = ()
    size: int = 0


async def load(
    catalog: Rows, *, fetcher: Fetcher, ahead: int = 32, bytes_ahead: int = 64 * 1024 * 1024
) -> AsyncGenerator[Loaded, None]:
    """Every row as a product to import, or with its problems; `ahead` rows at most are fetched before they are due."""

    async def work(row: Row) -> Loaded:
        if row.entry.product is None:
            return Loaded(row, problems=row.entry.problems)
        # A copy: the row is kept for the report of a failure, and shall not keep its images.
        product, size = Product(), 0
        product.CopyFrom(row.entry.product)
        for image in row.entry.images:
            try:
                content = await _content(image, base=catalog.base, fetcher=fetcher)
            except Unfetchable as error:
                return Loaded(row, problems=(str(error),))
            size += len(content)
            if size > MAX_MESSAGE_BYTES:
                return Loaded(row, problems=("its images have more than 32 MiB together: save them smaller",))
            product.images.append(product_image(content, hint=image.hint))
        return Loaded(row, product, size=size)

    async for loaded in _ahead(catalog, work, ahead=ahead, bytes_ahead=bytes_ahead):
        yield loaded


async def check(
    catalog: Rows, *, fetcher: Fetcher, inspect: Callable[[bytes], str], ahead: int = 32
) -> AsyncGenerator[Loaded, None]:
    """Every row with all its problems and without its images; `inspect` says what is wrong with an image, or ""."""

    async def problems_of(image: ImageReference) -> str:
        try:
            content = await _content(image, base=catalog.base, fetcher=fetcher)
        except Unfetchable as error:
            return str(error)
        problem = await asyncio.to_thread(inspect, content)
        return f"the image {_shown(image)} {problem}" if problem else ""

    async def work(row: Row) -> Loaded:
        found = [*row.entry.problems]
        for image in row.entry.images:
            problem = await problems_of(image)
            if problem:
                found.append(problem)
        return Loaded(row, None if found else row.entry.product, tuple(found))

    async for loaded in _ahead(catalog, work, ahead=ahead, bytes_ahead=0):
        yield loaded


async def _ahead(
    catalog: Rows, work: Callable[[Row], Coroutine[None, None, Loaded]], *, ahead: int, bytes_ahead: int
) -> AsyncGenerator[Loaded, None]:
    pending: deque[asyncio.Task[Loaded]] = deque()
    try:
        async for row in each(catalog.rows()):
            pending.append(asyncio.create_task(work(row)))
            while pending and (len(pending) >= ahead or _held(pending) > bytes_ahead):
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _held(pending: deque[asyncio.Task[Loaded]]) -> int:
    return sum(task.result().size for task in pending if task.done())


async def _content(image: ImageReference, *, base: Location, fetcher: Fetcher) -> bytes:
    if isinstance(image.location, bytes):
        return image.location
    verb = "fetched" if is_address(image.location) or isinstance(base, str) else "read"
    try:
        content = await fetcher.read_image(resolve(image.location, base=base))
    except (Unfetchable, LocationInvalid) as error:
        raise Unfetchable(f"the image {_shown(image)} cannot be {verb} ({error})") from error
    if not content:
        raise Unfetchable(f"the image {_shown(image)} is empty")
    return content


def _shown(image: ImageReference) -> str:
    return image.location[:300] if isinstance(image.location, str) else "in the row"
