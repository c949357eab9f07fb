"""Opening a catalog: what kind it is, how many rows it has, and where its images lie."""

from __future__ import annotations

import asyncio
import csv
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike.catalogs.csv_source import CsvSource
from lookalike.catalogs.fetching import Fetcher, Unfetchable
from lookalike.catalogs.folder_source import FolderSource, images_in, shown
from lookalike.catalogs.jsonl_source import JsonlSource
from lookalike.catalogs.locations import (
    Location,
    LocationInvalid,
    describe,
    is_address,
    protocol_of,
    resolve,
    suffix_of,
)
from lookalike.catalogs.rows import Entry, RowInvalid, entry_of
from lookalike.catalogs.sources import CatalogUnreadable, Row, Source

__all__ = ["Catalog", "open_catalog"]

CATALOG_FILES = ("products.jsonl", "products.csv", "products.parquet")


def _parquet(path: Path) -> Source:
    from lookalike.catalogs.parquet_source import ParquetSource

    return ParquetSource(path)


def _jsonl(path: Path) -> Source:
    return JsonlSource(path)


KINDS: dict[str, Callable[[Path], Source]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": CsvSource,
    ".tsv": CsvSource,
    ".parquet": _parquet,
}
WHAT_IS = "give a folder of images, or a .csv, .jsonl or .parquet file"


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog with its number of rows.

    `place` is where it lies; `base` what images are relative to: a folder of this machine, or an address.
    """

    place: Location
    base: Location
    source: Source
    total: int
    category: str

    @property
    def name(self) -> str:
        """The place for people."""
        return describe(self.place)

    def rows(self) -> Iterator[Row]:
        """Every row, read as it goes; a name that comes twice is a problem of the later row."""
        seen: dict[str, int] = {}
        for number, raw in self.source.raws():
            label = raw if isinstance(self.source, FolderSource) else ""
            try:
                record = self.source.record(raw)
            except RowInvalid as error:
                yield Row(number, label, raw, Entry(None, problems=(str(error),)))
                continue
            entry = entry_of(record, category=self.category)
            label = label or str(record.get("id", ""))[:128]
            product_id = entry.product.name if entry.product else ""
            if product_id in seen:
                entry = Entry(None, entry.images, (f"the id is that of row {seen[product_id]}",))
            elif product_id:
                seen[product_id] = number
            yield Row(number, label, raw, entry)


@asynccontextmanager
async def open_catalog(
    place: str | os.PathLike[str], *, fetcher: Fetcher, category: str = ""
) -> AsyncIterator[Catalog]:
    """Look at what is there and count it; `category` is for products that name none.

    A file at an address is copied to this machine first. Raises CatalogUnreadable and ExtraMissing.
    """
    text = os.fspath(place)
    try:
        if not is_address(text):
            yield await asyncio.to_thread(_open_local, Path(text), category=category)
            return
        async with _at_address(text, fetcher=fetcher, category=category) as catalog:
            yield catalog
    except (Unfetchable, LocationInvalid) as error:
        raise CatalogUnreadable(f"{describe(text)} cannot be read ({error})") from error


@asynccontextmanager
async def _at_address(address: str, *, fetcher: Fetcher, category: str) -> AsyncIterator[Catalog]:
    protocol_of(address)
    suffix = suffix_of(address)
    if suffix not in KINDS:
        address = f"{address.rstrip('/')}/"
        paths = await fetcher.find(address)
        named = [name for name in CATALOG_FILES if name in paths]
        if not named:
            source = FolderSource(shown(paths), category=category)
            yield _catalog(address, base=address, source=source, category="")
            return
        address = str(resolve(named[0], base=address))
        suffix = suffix_of(address)
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        copy = Path(folder, f"catalog{suffix}")
        await fetcher.download(address, copy)
        yield await asyncio.to_thread(_open_file, copy, place=address, base=address, category=category)


def _open_local(path: Path, *, category: str) -> Catalog:
    if path.is_dir():
        for name in CATALOG_FILES:
            if (path / name).is_file():
                return _open_local(path / name, category=category)
        return _catalog(path, base=path, source=FolderSource(images_in(path), category=category), category="")
    if not path.exists():
        raise CatalogUnreadable(f"{path} does not exist")
    return _open_file(path, place=path, base=path.parent, category=category)


def _open_file(path: Path, *, place: Location, base: Location, category: str) -> Catalog:
    shown_place = describe(place)
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise CatalogUnreadable(f"{shown_place} is no catalog; {WHAT_IS}")
    try:
        return _catalog(place, base=base, source=kind(path), category=category)
    except UnicodeDecodeError as error:
        raise CatalogUnreadable(f"{shown_place} is not UTF-8 text; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise CatalogUnreadable(f"{shown_place} cannot be read ({error})") from error
    except CatalogUnreadable as error:
        raise CatalogUnreadable(str(error).replace(str(path), shown_place)) from error


def _catalog(place: Location, *, base: Location, source: Source, category: str) -> Catalog:
    total = source.count()
    if not total:
        what = "holds no JPEG, PNG or WebP images" if isinstance(source, FolderSource) else "has no products"
        raise CatalogUnreadable(f"{describe(place)} {what}")
    return Catalog(place, base, source, total, category)
