"""Judged queries from a CSV file: which products people found alike for a garment or a product, and how much."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lookalike.catalogs.csv_file import CsvFile
from lookalike.catalogs.rows import ID_PATTERN
from lookalike.values import box_from_text, catalog_name, split_product_name

__all__ = ["Judgments", "JudgmentsUnreadable", "Problem", "Query", "Region", "read_judgments"]

REQUIRED = ("product", "grade")
# What is asked with: one of them in every row.
SUBJECTS = ("photo", "query_product")
COLUMNS = (*SUBJECTS, *REQUIRED, "category", "region", "comment")
HIGHEST_GRADE = 100
Region = tuple[float, float, float, float]


class JudgmentsUnreadable(ValueError):
    """The file cannot be read as a judged CSV; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with something that the file says, and on which line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """One garment of one photo, or one product of the catalog, with the grades of products by id.

    The garment is the one in `region` (x0, y0, x1, y1, 0..1), else the surest of `category`, else the photo's surest.
    A query by product has its id in `product`, and no photo. `line` is that of its first row.
    """

    photo: str
    category: str
    region: Region | None
    line: int
    grades: Mapping[str, int]
    product: str = ""

    @property
    def subject(self) -> str:
        """What is asked with: the photo as the file names it, or the product's id."""
        return self.product or self.photo

    @property
    def meant(self) -> str:
        """Which garment of the photo, in words; empty for its surest."""
        if self.region:
            return "region " + ",".join(f"{edge:g}" for edge in self.region)
        return self.category


@dataclass(frozen=True, slots=True)
class Judgments:
    """The queries of a file in its order, and the rows that do not parse.

    `lines` holds the first line on which a product is named, by its id.
    """

    path: Path
    queries: tuple[Query, ...]
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A query while its rows are read; per product its grade and the line that gave it."""

    line: int
    grades: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_judgments(path: Path, *, catalog: str = "default") -> Judgments:
    """The file's queries, whose products are those of `catalog`. Raises JudgmentsUnreadable."""
    try:
        file = CsvFile(path)
        _check_columns(file.columns, path=path)
        rows = list(file.rows())
    except UnicodeDecodeError as error:
        raise JudgmentsUnreadable(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise JudgmentsUnreadable(f"{path} cannot be read ({reason or error})") from error
    if not rows:
        raise JudgmentsUnreadable(f"{path} has no row below its first line")
    queries: dict[tuple[str, str, Region | None, str], _Open] = {}
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for line, cells in rows:
        try:
            row = _cells(cells, file.columns)
            key, product = _query(row, catalog=catalog), _product(row["product"], catalog=catalog)
            grade = _grade(row["grade"])
            query = queries.get(key) or _Open(line)
            known, before = query.grades.setdefault(product, (grade, line))
            if known != grade:
                raise ValueError(
                    f"the product {product} has grade {known} for this query on line {before}, here {grade}"
                )
        except ValueError as error:
            problems.append(Problem(line, str(error)))
            continue
        queries[key] = query
        for named in (product, key[3]):
            if named:
                lines.setdefault(named, line)
    read = [
        Query(*key[:3], query.line, {product: grade for product, (grade, _) in query.grades.items()}, key[3])
        for key, query in queries.items()
    ]
    return Judgments(path, tuple(read), tuple(problems), lines)


def _check_columns(columns: list[str], *, path: Path) -> None:
    subject = [] if any(column in columns for column in SUBJECTS) else [SUBJECTS[0]]
    missing = subject + [column for column in REQUIRED if column not in columns]
    if missing:
        raise JudgmentsUnreadable(
            f"{path} has no column {missing[0]!r}; its first line names the columns photo, {', '.join(REQUIRED)}, "
            "and category or region where a photo shows several garments (or query_product in place of photo)"
        )
    for column in columns:
        if column not in COLUMNS:
            raise JudgmentsUnreadable(f"{path} has a column {column!r}; the columns are {', '.join(COLUMNS)}")
        if columns.count(column) > 1:
            raise JudgmentsUnreadable(f"{path} has the column {column!r} twice")


def _cells(cells: list[str], columns: list[str]) -> dict[str, str]:
    if len(cells) > len(columns):
        raise ValueError(f"has {len(cells)} cells, but there are {len(columns)} columns (a region needs quotes)")
    row = dict.fromkeys(COLUMNS, "") | {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
    for column in REQUIRED:
        if not row[column]:
            raise ValueError(f"{column} is empty")
    return row


def _query(row: Mapping[str, str], *, catalog: str) -> tuple[str, str, Region | None, str]:
    if bool(row["photo"]) == bool(row["query_product"]):
        raise ValueError("names both a photo and a query_product" if row["photo"] else "photo is empty")
    if row["query_product"]:
        if row["category"] or row["region"]:
            raise ValueError("category and region are for photos, not for a query_product")
        return "", "", None, _product(row["query_product"], catalog=catalog)
    region = box_from_text(row["region"]) if row["region"] else None
    return row["photo"], row["category"].lower(), region, ""


def _product(text: str, *, catalog: str) -> str:
    parent, product = split_product_name(text) if text.startswith("catalogs/") else (catalog_name(catalog), text)
    if not ID_PATTERN.fullmatch(product):
        raise ValueError(f"the product is {text!r}; ids are 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
    if parent != catalog_name(catalog):
        raise ValueError(f"the product {text} is not of {catalog_name(catalog)}")
    return product


def _grade(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > HIGHEST_GRADE:
        raise ValueError(
            f"the grade is {text!r}; write a whole number: 0 for not alike, and 1, 2, 3 for more and more alike"
        )
    return int(text)
