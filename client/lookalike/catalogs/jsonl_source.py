"""Catalogs in JSON lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from lookalike.catalogs.rows import RowInvalid
from lookalike.catalogs.sources import FAILURE, FailureWriter, relocated

__all__ = ["JsonlFailures", "JsonlSource"]


class JsonlSource:
    """A file of JSON lines; a row is its line."""

    suffix = ".jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        """How many lines are not blank."""
        return sum(1 for _ in self.raws())

    def raws(self) -> Iterator[tuple[int, str]]:
        """Every line that is not blank, with its number."""
        with self._path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line

    def record(self, raw: str) -> dict[str, object]:
        """The object of the line."""
        try:
            record = json.loads(raw, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RowInvalid(f"is not JSON ({error})") from error
        if not isinstance(record, dict):
            raise RowInvalid("is not a JSON object")
        return {field: value for field, value in record.items() if field != FAILURE}

    def failures(self, path: Path, *, relocate: Callable[[str], str]) -> FailureWriter:
        """A file of the same lines with the reason as one more field; a line that is no object stays as it is."""
        return JsonlFailures(path, record=self.record, relocate=relocate)


class JsonlFailures:
    """Writes rows as JSON lines; `record` gives a row's fields."""

    def __init__(
        self, path: Path, *, record: Callable[[str], Mapping[str, object]], relocate: Callable[[str], str]
    ) -> None:
        self._record = record
        self._relocate = relocate
        self._file = path.open("w", encoding="utf-8")

    def write(self, raw: str, reason: str) -> None:
        """Add a row."""
        try:
            record = {FAILURE: reason, **relocated(self._record(raw), self._relocate)}
        except RowInvalid:
            self._file.write(raw.rstrip("\n") + "\n")
        else:
            # Pure ASCII: half a surrogate pair, which JSON may hold, has no UTF-8.
            self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
