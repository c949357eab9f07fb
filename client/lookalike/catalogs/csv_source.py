"""Catalogs in CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lookalike.catalogs.csv_file import CsvFile
from lookalike.catalogs.rows import FIELDS, RowInvalid
from lookalike.catalogs.sources import FAILURE, CatalogUnreadable, FailureWriter
from lookalike.values import AttributeLike

__all__ = ["CsvSource", "check_columns", "plain_value"]

IMAGE_SEPARATOR = "|"


class CsvSource:
    """A CSV file; a row is its list of cells."""

    def __init__(self, path: Path) -> None:
        self.suffix = path.suffix.lower()
        self._file = CsvFile(path)
        check_columns(self._file.columns, path=path)

    def count(self) -> int:
        """How many rows are not blank."""
        return sum(1 for _ in self.raws())

    def raws(self) -> Iterator[tuple[int, list[str]]]:
        """The cells of every row that is not blank, with the line on which it begins."""
        return self._file.rows()

    def record(self, raw: list[str]) -> dict[str, object]:
        """The row in the form of a JSON line; empty cells are left out.

        Several images are separated by `|`, `attributes.KEY` is a column per attribute, and what looks like a number
        or a truth value is one.
        """
        if len(raw) > len(self._file.columns):
            raise RowInvalid(f"has {len(raw)} cells, but there are {len(self._file.columns)} columns")
        record: dict[str, object] = {}
        attributes: dict[str, object] = {}
        for column, cell in zip(self._file.columns, raw, strict=False):
            text = cell.strip()
            if not text or column == FAILURE:
                continue
            if column.startswith("attributes."):
                attributes[column.removeprefix("attributes.")] = plain_value(text)
            else:
                record[column] = _parts(text) if column == "images" else text
        if attributes:
            record["attributes"] = attributes
        return record

    def failures(self, path: Path, *, relocate: Callable[[str], str]) -> FailureWriter:
        """A CSV file with the same columns after one for the reason."""
        return _CsvFailures(path, columns=self._file.columns, delimiter=self._file.delimiter, relocate=relocate)


class _CsvFailures:
    def __init__(self, path: Path, *, columns: list[str], delimiter: str, relocate: Callable[[str], str]) -> None:
        self._columns = columns
        self._relocate = relocate
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, delimiter=delimiter, lineterminator="\n")
        # In front, so that a row with too many cells is still seen to have them.
        self._writer.writerow([FAILURE, *(column for column in columns if column != FAILURE)])

    def write(self, raw: list[str], reason: str) -> None:
        cells = [reason]
        for index, cell in enumerate(raw):
            column = self._columns[index] if index < len(self._columns) else ""
            if column == "images":
                cells.append(IMAGE_SEPARATOR.join(self._relocate(part) for part in _parts(cell)))
            elif column == "image" and cell.strip():
                cells.append(self._relocate(cell.strip()))
            elif column != FAILURE:
                cells.append(cell)
        self._writer.writerow(cells)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def check_columns(columns: list[str], *, path: Path) -> None:
    """Raises CatalogUnreadable for columns that mean nothing, come twice, or when there are no ids."""
    known = (*FIELDS, FAILURE)
    for column in columns:
        if column not in known and not re.fullmatch(r"attributes\.\w+", column):
            raise CatalogUnreadable(
                f"{path} has a column {column!r}; the columns are {', '.join(FIELDS)} and attributes.KEY"
            )
        if columns.count(column) > 1:
            raise CatalogUnreadable(f"{path} has the column {column!r} twice")
    if "id" not in columns:
        raise CatalogUnreadable(f"{path} has no column 'id'; the first line must name the columns")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(IMAGE_SEPARATOR) if part.strip()]


def plain_value(text: str) -> AttributeLike:
    """An attribute from its text: a number or a truth value where it looks like one."""
    if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]+)?", text):
        return float(text)
    return text.lower() == "true" if text.lower() in {"true", "false"} else text
