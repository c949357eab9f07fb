"""Catalogs in Parquet: the same columns as CSV, with lists, structs and maps where JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lookalike.catalogs.csv_source import check_columns
from lookalike.catalogs.extra import needs_extra
from lookalike.catalogs.sources import FAILURE, CatalogUnreadable, FailureWriter, relocated

with needs_extra("reading Parquet"):
    import pyarrow
    import pyarrow.parquet

__all__ = ["ParquetSource"]

# Rows may hold the images themselves, so few of them lie in memory at once.
ROWS_AT_ONCE = 64


class ParquetSource:
    """A Parquet file; a row is its mapping of columns to values."""

    suffix = ".parquet"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                self._schema = file.schema_arrow
                self._rows = file.metadata.num_rows
        except pyarrow.ArrowException as error:
            raise CatalogUnreadable(f"{path} is not Parquet ({error})") from error
        check_columns(self._schema.names, path=path)

    def count(self) -> int:
        """How many rows the file says that it has."""
        return int(self._rows)

    def raws(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Every row, counted from 1."""
        number = 0
        with pyarrow.parquet.ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield number, row

    def record(self, raw: dict[str, object]) -> dict[str, object]:
        """The columns that have a value."""
        record: dict[str, object] = {}
        attributes: dict[str, object] = {}
        for column, value in raw.items():
            if value is None or column == FAILURE:
                continue
            if column.startswith("attributes."):
                attributes[column.removeprefix("attributes.")] = value
            elif column == "attributes" and isinstance(value, Mapping):
                attributes.update((key, inner) for key, inner in value.items() if inner is not None)
            else:
                record[column] = value
        if attributes:
            record["attributes"] = attributes
        return record

    def failures(self, path: Path, *, relocate: Callable[[str], str]) -> FailureWriter:
        """A Parquet file of the same columns after one for the reason."""
        return _ParquetFailures(path, schema=self._schema, relocate=relocate)


class _ParquetFailures:
    def __init__(self, path: Path, *, schema: pyarrow.Schema, relocate: Callable[[str], str]) -> None:
        fields = [field for field in schema if field.name != FAILURE]
        self._schema = pyarrow.schema([pyarrow.field(FAILURE, pyarrow.string()), *fields])
        self._relocate = relocate
        self._rows: list[dict[str, object]] = []
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, raw: dict[str, object], reason: str) -> None:
        self._rows.append({**relocated(raw, self._relocate), FAILURE: reason})
        if len(self._rows) == ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._write()
        self._writer.close()
