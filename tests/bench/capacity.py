"""The capacity plan of docs/operations.md, computed from what the pages say was measured: `make bench-docs`, or

    PYTHONPATH=tests python -m bench.capacity [--docs docs]

Nothing is measured here. A figure that a page no longer has is an error, so that none outlives its measurement.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.document import ROOT, documented

__all__ = ["BEGIN", "KINDS", "Measured", "main", "page", "read_measured", "segments_milliseconds"]

BEGIN: Final = "<!-- capacity, written by make bench-docs -->"
RATES: Final = (1, 10, 100, 1_000, 10_000)
SIZES: Final = tuple(10**power for power in range(4, 10))
UTILIZATION: Final = 0.7
"""What is planned to be busy; the rest is for the time that more takes to come, and for chance."""
SPARE_MEMORY: Final = 1.5
"""What Milvus needs to work and to build, times what it holds; the section about 100 million products says so, too."""
KINDS: Final = {"HNSW": 1_161, "IVF_FLAT": 1_024, "HNSW_SQ": 393, "IVF_RABITQ": 288, "IVF_SQ8": 256}
"""Bytes a vector takes in the index: links and lists, codes, and for RaBitQ 32 of code and 256 that refine."""
FIELD_BYTES: Final = 243
NODE_BYTES: Final = 64e9
POD_CORES: Final = 2
POD_PERMITS: Final = 4
GATEWAY_CONNECTIONS: Final = 10
SEGMENT_ROWS: Final = 10**7
"""Rows of a sealed segment from 10^7 garments on: dataCoord.segment.maxSize of 12,500 MB instead of 1,024."""
TARGET_PHOTOS: Final = 2_000
"""Photos a second of one GPU: what is wanted of an H200, not what was measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the plan rests on; milliseconds of a core, unless a name says otherwise."""

    together: float  # gateway and Triton, per photo
    triton: float  # Triton alone, per photo
    photos_per_second: float  # two cores, four at once
    garments: float  # per photo
    milvus: float  # per photo, in 25,000 rows
    vectors_per_second: dict[int, float]  # by rows: two cores, 16 callers
    searching: float  # milliseconds that one of these waits at a million rows, median
    inserted_per_second: float
    indexed_seconds: float  # for a million rows, two cores
    milvus_bytes: float  # the whole process at a million rows
    embedding: float  # a photo of one garment
    photo_bytes: float
    answer_bytes: float
    row_bytes: float  # of PostgreSQL, per product of one view

    @property
    def gateway(self) -> float:
        """Its part of a photo."""
        return self.together - self.triton


def read_measured(docs: Path) -> Measured:
    """Take them from the pages. Raises ValueError when one has gone."""
    bench, operations = ((docs / name).read_text() for name in ("benchmarks.md", "operations.md"))

    def one(text: str, pattern: str) -> float:
        match = re.search(pattern, text)
        if match is None:
            raise ValueError(f"the pages no longer say what {pattern!r} looks for; mend tests/bench/capacity.py")
        return float(match[1].replace(",", ""))

    rows = {size: rf"\| {size:,} +\| no filter +\|.* / [\d.]+, ([\d.]+) +\|" for size in (10**4, 10**5, 10**6)}
    return Measured(
        together=one(bench, r"`cpu_ms_per_search` +\| ([\d.]+)"),
        triton=one(bench, r"served by Triton (\d+), with"),
        photos_per_second=one(bench, r"did ([\d.]+) photos/s with 4 callers"),
        garments=one(bench, r"with ([\d.]+) garments each"),
        milvus=one(bench, r"`milvus_cpu_ms_per_search` +\| ([\d.]+)"),
        vectors_per_second={size: one(bench, pattern) for size, pattern in rows.items()},
        searching=one(bench, r"\| 1,000,000 +\| no filter +\|.*\| ([\d.]+) / [\d.]+ / [\d.]+, [\d.]+ +\|"),
        inserted_per_second=one(bench, r"\| 1,000,000 +\| ([\d,]+) \(insert\)"),
        indexed_seconds=one(bench, r"\| 1,000,000 +\| [\d,]+ \(insert\) +\| ([\d,]+)"),
        milvus_bytes=one(bench, r"\| 1,000,000 +\| [\d,]+ \(insert\) +\| [\d,]+ +\| ([\d,]+)") * 2**20,
        embedding=one(operations, r"a photo of one garment \(served\) \| (\d+) ms"),
        photo_bytes=one(operations, r"(\d+) kB a photo, one photo a product") * 1000,
        answer_bytes=one(bench, r"answers of (\d+) kB") * 1000,
        row_bytes=one(operations, r"Parquet / PostgreSQL \| \d+ / ([\d,]+)"),
    )


def segments_milliseconds(measured: Measured, rows: int) -> float:
    """Milliseconds of a core for one vector among so many rows: each segment is searched by itself."""
    known = {size: 2_000 / rate for size, rate in measured.vectors_per_second.items()}
    if rows in known:
        return known[rows]
    # A tenfold segment costs as much more as it did from 100,000 to a million.
    tenfold = math.log10(min(rows, SEGMENT_ROWS) / 10**6)
    segment: float = known[10**6] * (known[10**6] / known[10**5]) ** tenfold
    return segment * math.ceil(rows / SEGMENT_ROWS)


def page(measured: Measured) -> str:
    """All tables, each under what it is; only the first was measured."""
    parts = {
        "### What was measured": _inputs(measured),
        "### Photos per second (computed)": _rates(measured),
        "### Cores of query nodes, by garments and photos per second (computed)": _searching(measured),
        "### Memory of query nodes, and how many of 64 GB it fills (computed)": _memory(),
        "### Getting the garments in, and what they take elsewhere (computed)": _sizes(measured),
    }
    return "\n\n".join(f"{head}\n\n{table}" for head, table in parts.items())


def _inputs(m: Measured) -> str:
    known = sorted(m.vectors_per_second)
    lines = [
        ("CPU of gateway and Triton per photo", f"{m.together:g} ms", "`make bench`, cpu_ms_per_search"),
        ("of that Triton", f"{m.triton:g} ms", '[benchmarks.md](benchmarks.md), "What was tried"'),
        (
            "photos with two cores of Triton at once / photos per second",
            f"{POD_PERMITS} / {m.photos_per_second:g}",
            "there, at 4 callers",
        ),
        ("garments per photo of these figures", f"{m.garments:g}", "`make bench`"),
        ("CPU of Milvus per photo in 25,000 rows", f"{m.milvus:g} ms", "`make bench`, milvus_cpu_ms_per_search"),
        *(
            (
                f"vectors per second, two cores, 16 callers, {rows:,} rows",
                f"{m.vectors_per_second[rows]:g}",
                "`make bench-index`",
            )
            for rows in known
        ),
        ("median wait for one of these at 1,000,000", f"{m.searching:g} ms", "`make bench-index`"),
        (
            "rows inserted per second / until a million are indexed, two cores",
            f"{m.inserted_per_second:,.0f} / {m.indexed_seconds:g} s",
            "`make bench-index`",
        ),
        (
            "memory of all of Milvus at a million rows, HNSW",
            f"{m.milvus_bytes / 1e9:.2f} GB",
            "`make bench-index`",
        ),
        ("models on a CPU, a photo of one garment", f"{m.embedding:g} ms", "the arithmetic above"),
        (
            "bytes of a photo / of an answer / of a product in PostgreSQL",
            f"{m.photo_bytes / 1000:g} kB / {m.answer_bytes / 1000:g} kB / {m.row_bytes:,.0f}",
            "the arithmetic above; `make bench-rivals`",
        ),
    ]
    return "\n".join(("| measured | | with |", "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in lines)))


def _rates(m: Measured) -> str:
    head = (
        "| photos/s | gateways | Triton: cores | pods of 2 cores | or GPUs, if one sees 2,000 photos/s (a target) "
        "| photos with the models at once | searches in Milvus at once | connections to PostgreSQL "
        "| into gateways | out |"
    )
    lines = [head, "| ---: " * 10 + "|"]
    for rate in RATES:
        gateways = max(2, math.ceil(rate * m.gateway / 1000 / UTILIZATION))
        cores = rate * m.triton / 1000 / UTILIZATION
        cells = (
            f"{rate:,}",
            f"{gateways:,}",
            _rounded(cores),
            f"{max(2, math.ceil(cores / POD_CORES)):,}",
            f"{max(2, math.ceil(rate / TARGET_PHOTOS / UTILIZATION)):,}",
            _rounded(rate * POD_PERMITS / m.photos_per_second),
            _rounded(rate * m.searching / 1000),
            f"{gateways * GATEWAY_CONNECTIONS:,}",
            _bits(rate * m.photo_bytes),
            _bits(rate * (m.answer_bytes + m.photo_bytes)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _searching(m: Measured) -> str:
    head = "| garments | photos/s: " + " | ".join(f"{rate:,}" for rate in RATES) + " |"
    lines = [head, "| --- |" + " ---: |" * len(RATES)]
    for rows in SIZES:
        each = segments_milliseconds(m, rows) * m.garments / 1000 / UTILIZATION
        lines.append(f"| {_power(rows)} | " + " | ".join(_rounded(rate * each) for rate in RATES) + " |")
    return "\n".join(lines)


def _sizes(m: Measured) -> str:
    lines = [
        "| garments | embedding them on CPUs | inserting into two cores | building HNSW | PostgreSQL | photographs |",
        "| --- |" + " ---: |" * 5,
    ]
    for rows in SIZES:
        cells = (
            f"{_rounded(rows * m.embedding / 3.6e6)} core-hours",
            _time(rows / m.inserted_per_second),
            f"{_rounded(rows * m.indexed_seconds * 2 / 1e6 / 3600)} core-hours",
            _bytes(rows * m.row_bytes),
            _bytes(rows * m.photo_bytes),
        )
        lines.append(f"| {_power(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _memory() -> str:
    lines = [
        "| garments | " + " | ".join(KINDS) + " |",
        "| --- |" + " ---: |" * len(KINDS),
    ]
    for rows in SIZES:
        taken = [rows * (each + FIELD_BYTES) * SPARE_MEMORY for each in KINDS.values()]
        cells = [f"{_bytes(each)}, {math.ceil(each / NODE_BYTES)}" for each in taken]
        lines.append(f"| {_power(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _power(rows: int) -> str:
    return f"10^{round(math.log10(rows))}"


def _rounded(value: float) -> str:
    """Two digits that count; more would promise what nobody has measured."""
    if value >= 10:
        digits = 10 ** (math.floor(math.log10(value)) - 1)
        return f"{round(value / digits) * digits:,.0f}"
    return f"{value:.2g}"


def _unit(value: float, units: Sequence[str]) -> str:
    step = min(int(math.log10(value) // 3), len(units) - 1)
    return f"{_rounded(value / 1000**step)} {units[step]}"


def _bytes(value: float) -> str:
    return _unit(value, ("B", "kB", "MB", "GB", "TB", "PB"))


def _bits(bytes_per_second: float) -> str:
    return _unit(bytes_per_second * 8, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def _time(seconds: float) -> str:
    return f"{_rounded(seconds)} s" if seconds < 3600 else f"{_rounded(seconds / 3600)} h"


def main(arguments: Sequence[str] | None = None) -> int:
    """1, with a sentence, when a figure or the place for the tables is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    docs: Path = parser.parse_args(arguments).docs
    target = docs / "operations.md"
    try:
        target.write_text(documented(target.read_text(), page(read_measured(docs)), begin=BEGIN))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
