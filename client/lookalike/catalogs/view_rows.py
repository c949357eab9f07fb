"""Views of products from a file: who looked at what, and when."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from lookalike.catalogs.csv_file import CsvFile
from lookalike.catalogs.jsonl_source import JsonlSource
from lookalike.catalogs.rows import ID_PATTERN, RowInvalid
from lookalike.v1.product_service_pb2 import ProductPageView
from lookalike.values import split_product_name

__all__ = ["ViewProblem", "ViewsUnreadable", "read_views"]

FIELDS = ("product", "session", "time")
LONGEST_SESSION = 256
# Year 1 to 9999, which is what a time of the contract may be.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799


class ViewsUnreadable(ValueError):
    """The file cannot be read as views; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ViewProblem:
    """What is wrong with a row, and on which line."""

    line: int
    text: str


def read_views(path: Path) -> Iterator[ProductPageView | ViewProblem]:
    """Every row as a view, or what is wrong with it, read as it goes. Raises ViewsUnreadable, also on the way."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise ViewsUnreadable(f"{path} is no file of views; give a .csv or .jsonl file")
    return _views(_csv_rows(path) if suffix in (".csv", ".tsv") else _jsonl_rows(path), path)


def _views(
    rows: Iterator[tuple[int, Mapping[str, object] | RowInvalid]], path: Path
) -> Iterator[ProductPageView | ViewProblem]:
    try:
        for line, row in rows:
            try:
                if isinstance(row, RowInvalid):
                    raise row
                yield _view(row)
            except RowInvalid as error:
                yield ViewProblem(line, str(error))
    except UnicodeDecodeError as error:
        raise ViewsUnreadable(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ViewsUnreadable(f"{path} cannot be read ({reason or error})") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | RowInvalid]]:
    file = CsvFile(path)
    missing = [field for field in FIELDS if field not in file.columns]
    if missing:
        raise ViewsUnreadable(f"{path} has no column {missing[0]!r}; its first line names {', '.join(FIELDS)}")
    for line, cells in file.rows():
        if len(cells) > len(file.columns):
            yield line, RowInvalid(f"has {len(cells)} cells, but there are {len(file.columns)} columns")
        else:
            yield line, {column: cell.strip() for column, cell in zip(file.columns, cells, strict=False)}


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | RowInvalid]]:
    source = JsonlSource(path)
    for line, raw in source.raws():
        try:
            yield line, source.record(raw)
        except RowInvalid as error:
            yield line, error


def _view(row: Mapping[str, object]) -> ProductPageView:
    product, session = (_text(row, field) for field in ("product", "session"))
    if not ID_PATTERN.fullmatch(split_product_name(product)[1] or product):
        raise RowInvalid(
            f"the product {product[:150]!r} is no id; ids are 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -"
        )
    if len(session) > LONGEST_SESSION:
        raise RowInvalid(f"the session has {len(session)} characters; {LONGEST_SESSION} at most")
    return ProductPageView(product=product, session=session, view_time=Timestamp(seconds=_seconds(row.get("time"))))


def _text(row: Mapping[str, object], field: str) -> str:
    value = row.get(field, "")
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text:
        raise RowInvalid(f"has no {field}")
    return text


def _seconds(value: object) -> int:
    """Seconds since 1970."""
    text = str(value) if value is not None else ""
    try:
        if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]+)?", text):
            seconds = int(float(text))
        else:
            time = datetime.fromisoformat(text)
            seconds = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
        if not EARLIEST <= seconds <= LATEST:
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise RowInvalid(
            f"the time {text[:40]!r} is none; write 2026-11-26T09:30:00Z, or seconds since 1970"
        ) from error
    return seconds
