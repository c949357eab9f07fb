"""Backup and restore of the catalog: its database and its photographs, from which the index follows."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import JSON, Connection, LargeBinary, MetaData, RowMapping, Table, insert, inspect, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lookalike_service import tables
from lookalike_service.database import FAILURES
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.migrate import bring, remake, version_in
from lookalike_service.ports import ImageStore

__all__ = ["Backup", "Contents"]

FORMAT: Final = "lookalike-backup-1"
MANIFEST: Final = "manifest.json"
# The outbox is left out: a restore writes its own, for everything.
SAVED: Final = ("products", "images", "views")
# Tables of before have it not, nor have backups of them. A restored catalog is served with the version that it had.
SAVED_IF_THERE: Final = ("embedding_versions",)
BATCH: Final = 1000
PHOTOGRAPHS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Contents:
    """How much a backup holds."""

    products: int
    views: int
    photographs: int


class Backup:
    """A folder: `manifest.json`, one file of rows per table, and the photographs under their SHA-256.

    It holds no database's own format, so what was saved from SQLite can be restored into PostgreSQL.
    """

    def __init__(self, folder: Path) -> None:
        """The folder may be that of an earlier backup: photographs that it has are not copied again."""
        self._folder = folder

    async def save(self, engine: AsyncEngine, images: ImageStore) -> Contents:
        """Save the catalog as it is at one moment, while gateways go on serving and writing.

        Raises StartupError when database or image store fail, or a photograph is missing or damaged; the folder has no
        manifest then, and is not restored.
        """
        manifest = self._folder / MANIFEST
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            manifest.unlink(missing_ok=True)
            version, counts = await self._save_rows(engine)
            # A photograph is stored before the rows that name it, and none is ever removed: all are there by now.
            names = self._photographs()
            await self._save_photographs(names, images)
            part = manifest.with_suffix(".part")
            part.write_text(json.dumps({"format": FORMAT, "version": version, "rows": counts}, indent=2))
            part.rename(manifest)
        except (*FAILURES, LookalikeError) as error:
            raise StartupError(f"the backup in {self._folder} is incomplete: {_reason(error)}") from error
        return Contents(counts["products"], counts["views"], len(names))

    async def restore(self, engine: AsyncEngine, images: ImageStore) -> Contents:
        """Fill an empty database, and the image store, from the backup; all rows or none.

        Every product gets an outbox entry, so that the next gateway that starts brings all of it to the index; no
        model runs. A backup of an older program ends in tables of this one. Raises StartupError when the database
        is not empty, or the backup is incomplete, damaged, or of a newer program.
        """
        version, counts = self._manifest()
        names = self._photographs()
        try:
            async with engine.connect() as connection:
                await connection.run_sync(_refuse_full)
            await self._restore_photographs(names, images)
            async with engine.begin() as connection:
                await self._restore_rows(connection, version, counts)
        except (*FAILURES, LookalikeError) as error:
            raise StartupError(f"nothing of {self._folder} is restored: {_reason(error)}") from error
        return Contents(counts["products"], counts["views"], len(names))

    async def _save_rows(self, engine: AsyncEngine) -> tuple[str, dict[str, int]]:
        """Save the tables as they are, which may be of an older version, and return it and how many rows there are."""
        counts = {}
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # One moment for all tables; a transaction of SQLite is that by itself.
                await connection.execution_options(isolation_level="REPEATABLE READ")
            version = await connection.run_sync(version_in)
            if version is None:
                raise StartupError("the database holds no catalog; check LOOKALIKE_DATABASE_URL")
            has = await connection.run_sync(lambda here: set(inspect(here).get_table_names()))
            for name in (*SAVED, *(name for name in SAVED_IF_THERE if name in has)):
                table = await connection.run_sync(_table, name)
                result = await connection.stream(select(table).order_by(*table.primary_key))
                with gzip.open(self._rows_of(name), "wt", encoding="utf-8", compresslevel=1) as file:
                    counts[name] = await _written(file, result.mappings().partitions(BATCH))
        return version, counts

    async def _restore_rows(self, connection: AsyncConnection, version: str, counts: Mapping[str, int]) -> None:
        await connection.run_sync(_refuse_full)
        await remake(connection, version)
        await connection.run_sync(self._fill, counts)
        await bring(connection)
        products, stale = tables.products.c, tables.outbox.c.stale_views
        everything = select(products.catalog, products.id, literal([], stale.type))
        names = ["catalog", "product_id", "stale_views"]
        await connection.execute(insert(tables.outbox).from_select(names, everything))

    def _fill(self, connection: Connection, counts: Mapping[str, int]) -> None:
        """Insert the rows into tables as they were when they were saved."""
        for name, wanted in counts.items():
            table = _table(connection, name)
            total = 0
            for batch in _batches(self._rows(name)):
                connection.execute(insert(table), [_decoded(row, table) for row in batch])
                total += len(batch)
            if total != wanted:
                raise StartupError(f"{self._rows_of(name)} has {total} rows, and {wanted} were saved")

    def _manifest(self) -> tuple[str, dict[str, int]]:
        path = self._folder / MANIFEST
        if not path.is_file():
            raise StartupError(f"{self._folder} is no complete backup: it has no {MANIFEST}")
        try:
            manifest = json.loads(path.read_text())
            if manifest["format"] != FORMAT:
                raise StartupError(f"{path} is of format {manifest['format']}, and this program reads {FORMAT}")
            names = (*SAVED, *(name for name in SAVED_IF_THERE if name in manifest["rows"]))
            return str(manifest["version"]), {name: int(manifest["rows"][name]) for name in names}
        except (ValueError, KeyError, TypeError) as error:
            raise StartupError(f"{path} is damaged") from error

    def _rows_of(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl.gz"

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        try:
            with gzip.open(self._rows_of(name), "rt", encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)
        except (OSError, EOFError, ValueError) as error:
            raise StartupError(f"{self._rows_of(name)} is missing or damaged") from error

    def _photographs(self) -> list[str]:
        """The names of all photographs that the saved rows speak of."""
        return sorted({str(row["sha256"]) for row in self._rows("images")})

    def _path(self, sha256: str) -> Path:
        return self._folder / "photographs" / sha256[:2] / sha256

    async def _save_photographs(self, names: Sequence[str], images: ImageStore) -> None:
        async def save(sha256: str) -> None:
            path = self._path(sha256)
            if not path.exists():
                await asyncio.to_thread(_write, path, _checked(sha256, await images.get(sha256)))

        await _each(names, save)

    async def _restore_photographs(self, names: Sequence[str], images: ImageStore) -> None:
        async def restore(sha256: str) -> None:
            path = self._path(sha256)
            content = await asyncio.to_thread(path.read_bytes) if path.exists() else None
            await images.put(_checked(sha256, content))

        await _each(names, restore)


async def _written(file: TextIO, partitions: AsyncIterator[Sequence[RowMapping]]) -> int:
    total = 0
    async for rows in partitions:
        lines = (json.dumps(dict(row), default=_encoded, ensure_ascii=False) + "\n" for row in rows)
        await asyncio.to_thread(file.writelines, lines)
        total += len(rows)
    return total


def _encoded(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _decoded(row: dict[str, Any], table: Table) -> dict[str, Any]:
    for name, value in row.items():
        kind = table.c[name].type
        if isinstance(kind, LargeBinary):
            row[name] = base64.b64decode(value)
        elif isinstance(kind, JSON):
            # Nothing is nothing, not the word null.
            kind.none_as_null = True
    return row


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _table(connection: Connection, name: str) -> Table:
    """A table as it is, whatever its version."""
    return Table(name, MetaData(), autoload_with=connection)


def _refuse_full(connection: Connection) -> None:
    if inspect(connection).has_table("products"):
        table = _table(connection, "products")
        if connection.execute(select(table.c.id).limit(1)).first():
            raise StartupError("the database holds products already; a backup is restored into an empty one")


def _checked(sha256: str, content: bytes | None) -> bytes:
    if content is None:
        raise StartupError(f"the photograph {sha256} is missing")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StartupError(f"the photograph {sha256} is damaged")
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.rename(path)


async def _each(names: Sequence[str], work: Callable[[str], Awaitable[None]]) -> None:
    """Work on some names at a time; the first failure ends it."""
    waiting = iter(names)

    async def worker() -> None:
        for name in waiting:
            await work(name)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(PHOTOGRAPHS_AT_ONCE):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _reason(error: BaseException) -> str:
    if isinstance(error, LookalikeError):
        return error.message
    return str(error) if isinstance(error, OSError) else f"the database failed ({type(error).__name__})"
