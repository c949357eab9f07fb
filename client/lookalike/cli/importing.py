"""`lookalike import`: rows in, progress and failures out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from lookalike.catalog_files import CatalogFile, Row, open_catalog
from lookalike.cli.display import Display
from lookalike.client import Client
from lookalike.formatting import counted, one_line
from lookalike.status import error_from_status
from lookalike.v1.product_pb2 import Product
from lookalike.v1.product_service_pb2 import (
    IMPORT_OUTCOME_CREATED,
    IMPORT_OUTCOME_FAILED,
    IMPORT_OUTCOME_UNCHANGED,
    IMPORT_OUTCOME_UPDATED,
    ImportProductsResponse,
)

__all__ = ["import_catalog"]

SHOWN = {IMPORT_OUTCOME_CREATED: "new", IMPORT_OUTCOME_UPDATED: "changed", IMPORT_OUTCOME_UNCHANGED: "unchanged"}


async def import_catalog(client: Client, path: str, *, category: str, display: Display) -> int:
    """Import what lies at `path` and print a summary; gives the number of products that failed.

    Raises CatalogUnreadable and LookalikeError.
    """
    catalog = await asyncio.to_thread(open_catalog, path, category=category)
    columns = (
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    progress = Progress(*columns, console=display.errors, transient=True)
    run = _Import(catalog, progress)
    try:
        with progress:
            async for outcome in client.import_products(run.products()):
                run.answered(outcome)
    finally:
        # Also after an error: what was answered is in the catalog.
        display.line(run.summary())
    return len(run.failures)


class _Rate(ProgressColumn):
    """Products per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="cyan")


class _Import:
    def __init__(self, catalog: CatalogFile, progress: Progress) -> None:
        self.failures: list[str] = []
        self._outcomes: Counter[int] = Counter()
        self._catalog = catalog
        self._progress = progress
        self._task = progress.add_task("", total=catalog.total, failed="")
        self._under_way: deque[Row] = deque()
        self._began = time.monotonic()

    def products(self) -> Iterator[Product]:
        """Reads the rows; runs in a thread of its own."""
        for row in self._catalog.rows():
            if row.product is None:
                self._fail(row, row.problem)
                self._progress.advance(self._task)
            else:
                # Kept without the images: only what a failure's report needs.
                self._under_way.append(Row(row.number, row.label))
                yield row.product

    def answered(self, outcome: ImportProductsResponse) -> None:
        row = self._under_way.popleft()
        if outcome.outcome == IMPORT_OUTCOME_FAILED:
            error = error_from_status(outcome.error)
            self._fail(row, f"{error.reason}: {error}" if error.reason else str(error))
        else:
            self._outcomes[outcome.outcome] += 1
        self._progress.advance(self._task)

    def _fail(self, row: Row, problem: str) -> None:
        failure = one_line(
            f"row {row.number} ({row.label}): {problem}" if row.label else f"row {row.number}: {problem}"
        )
        self.failures.append(failure)
        self._progress.update(self._task, failed=f"{len(self.failures)} failed")
        self._progress.console.print(Text(failure, style="red"), soft_wrap=True)

    def summary(self) -> str:
        seconds = time.monotonic() - self._began
        imported = self._outcomes.total()
        kinds = ", ".join(f"{self._outcomes[kind]} {word}" for kind, word in SHOWN.items() if self._outcomes[kind])
        done = f"imported {counted(imported, 'product')}" + (f" ({kinds})" if kinds else "")
        rate = f"{imported / seconds:.1f}/s" if seconds > 0 else ""
        return f"{done}, {len(self.failures)} failed, in {seconds:.1f} s ({rate})"
