"""The capacity plan: it is what the pages' figures give, and its arithmetic is right."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench import capacity
from bench.capacity import KINDS, Measured, read_measured, segments_milliseconds
from bench.document import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def measured() -> Measured:
    return read_measured(DOCS)


def test_the_page_is_fresh(measured: Measured) -> None:
    _, _, after = (DOCS / "operations.md").read_text().partition(capacity.BEGIN)
    assert after.startswith(f"\n\n{capacity.page(measured)}\n\n"), "run: PYTHONPATH=tests python -m bench.capacity"


def test_bytes_of_each_kind_are_those_of_the_arithmetic() -> None:
    rows = (DOCS / "operations.md").read_text()
    for kind in ("HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8"):
        (cell,) = re.findall(rf"^\| {kind}(?: \([^)]*\)|, FLAT)? \| [^|]*?([\d,]+) \| \d+ GB", rows, re.MULTILINE)
        assert int(cell.replace(",", "")) == KINDS[kind]


def test_rates_follow_from_times(measured: Measured) -> None:
    known = replace(measured, together=90.0, triton=70.0, photos_per_second=8.0, searching=20.0)
    (row,) = [line for line in capacity.page(known).splitlines() if line.startswith("| 1,000 | ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # 20 ms / 0.7 = 28.6; 70 ms / 0.7 = 100 cores in 50 pods; 1,000 x 4/8 s; 1,000 x 20 ms.
    assert cells[:8] == ["1,000", "29", "100", "50", "2", "500", "20", "290"]


def test_segments_are_searched_one_by_one(measured: Measured) -> None:
    known = replace(measured, vectors_per_second={10**4: 2000.0, 10**5: 1000.0, 10**6: 500.0})
    costs = [segments_milliseconds(known, 10**power) for power in range(4, 10)]
    assert costs == pytest.approx([1, 2, 4, 8, 80, 800])


def test_a_figure_that_has_gone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("benchmarks.md", "operations.md"):
        shutil.copyfile(DOCS / name, tmp_path / name)
    assert capacity.main(["--docs", str(tmp_path)]) == 0
    assert (tmp_path / "operations.md").read_text() == (DOCS / "operations.md").read_text()
    page = (tmp_path / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.md").write_text(page.replace("cpu_ms_per_search", "cpu"))
    assert capacity.main(["--docs", str(tmp_path)]) == 1
    assert "cpu_ms_per_search" in capsys.readouterr().err
