"""CSV as people save it: comma, semicolon or tab, maybe a byte-order mark; the first line names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CsvFile"]


class CsvFile:
    """The columns of a file, and its rows.

    Raises OSError, csv.Error, and UnicodeDecodeError where it is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        self.delimiter = max(",;\t", key=header.count)
        self.columns = [column.strip() for column in next(csv.reader([header], delimiter=self.delimiter), [])]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The cells of every row that is not blank, with the line on which it begins."""
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            file.readline()
            reader = csv.reader(file, delimiter=self.delimiter)
            number = 2
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield number, cells
                number = reader.line_num + 2
