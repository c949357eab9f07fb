"""Full disks: a file system of fsspec that has no room, and a SQLite database that may not grow."""

from __future__ import annotations

import errno
import io
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import event

from lookalike_service.store import SqlStore

__all__ = ["FullDisk", "let_grow", "stop_growing"]


class FullFile(io.FileIO):
    """Takes half of what is written, then has no room."""

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        super().write(bytes(content)[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


class FullDisk(LocalFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """`full:///folder`, where files can be made but not filled while `full` is set."""

    protocol = "full"
    full = True

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:  # noqa: ANN401 - as fsspec has it
        if FullDisk.full and "w" in mode:
            return FullFile(path, mode)
        return super()._open(path, mode, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("full://")))


fsspec.register_implementation("full", FullDisk, clobber=True)


def stop_growing(store: SqlStore, *, pages: int = 0) -> None:
    """Let the database have so many pages and no more; 0 means as many as it has now."""

    def begun(connection: Any) -> None:  # noqa: ANN401
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages or 1}")

    event.listen(store.engine.sync_engine, "begin", begun)
    store.growing = begun  # type: ignore[attr-defined]


def let_grow(store: SqlStore) -> None:
    """There is room again."""
    event.remove(store.engine.sync_engine, "begin", store.growing)  # type: ignore[attr-defined]

    def begun(connection: Any) -> None:  # noqa: ANN401
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    event.listen(store.engine.sync_engine, "begin", begun)
