"""The kinds of catalog: what is read from them row by row, and how rows that failed are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lookalike.catalogs.rows import Entry

__all__ = ["FAILURE", "CatalogUnreadable", "FailureWriter", "Raw", "Row", "Source", "relocated"]

# The field with the reason in a file of failures; ignored when that file is imported.
FAILURE = "failure"

Raw = Any
"""A row as its kind of catalog has it: cells, a line, a mapping, an image's path."""


class CatalogUnreadable(ValueError):
    """The file or folder cannot be read as a catalog; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a catalog.

    `number` is the line of the file (Parquet: the row, counted from 1), or the place among a folder's images counted
    from 1; `label` says which product or image it is about.
    """

    number: int
    label: str
    raw: Raw
    entry: Entry


class FailureWriter(Protocol):
    """A file of rows that failed, in the form in which they can be imported again."""

    def write(self, raw: Raw, reason: str) -> None:
        """Add a row; it is in the file when this returns, or at the latest after `close`."""

    def close(self) -> None:
        """Finish the file."""


class Source(Protocol):
    """A catalog of one kind."""

    # The ending of a file of its failures.
    suffix: str

    def count(self) -> int:
        """How many rows there are. Raises CatalogUnreadable."""

    def raws(self) -> Iterator[tuple[int, Raw]]:
        """Every row with its number."""

    def record(self, raw: Raw) -> dict[str, object]:
        """The fields of a row (rows.py). Raises RowInvalid."""

    def failures(self, path: Path, *, relocate: Callable[[str], str]) -> FailureWriter:
        """Begin a file; `relocate` turns an image's path into one that holds from there."""


def relocated(record: Mapping[str, object], relocate: Callable[[str], str]) -> dict[str, object]:
    """The record with every image's path passed through `relocate`."""

    def entry(value: object) -> object:
        if isinstance(value, str) and value:
            return relocate(value)
        if isinstance(value, list):
            return [entry(item) for item in value]
        if isinstance(value, Mapping) and isinstance(value.get("path"), str):
            return {**value, "path": entry(value["path"])}
        return value

    return {field: entry(value) if field in ("image", "images") else value for field, value in record.items()}
