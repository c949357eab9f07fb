"""`lookalike import`: rows in, progress and failures out."""

from __future__ import annotations

import argparse
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from lookalike.catalogs.extra import ExtraMissing
from lookalike.catalogs.failures import Failures, FailuresUnwritable, failures_path
from lookalike.catalogs.fetching import Fetcher
from lookalike.catalogs.image_check import image_problem
from lookalike.catalogs.loading import check, load
from lookalike.catalogs.opening import Catalog, open_catalog
from lookalike.catalogs.sources import CatalogUnreadable, Row
from lookalike.cli.display import Display
from lookalike.cli.progress import Progress, open_progress
from lookalike.cli.usage import UsageError
from lookalike.client import Client
from lookalike.formatting import counted
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
# The file has them all; a server that is away shall not fill the terminal.
MOST_FAILURES_SHOWN = 100


async def import_catalog(client: Client, options: argparse.Namespace, *, display: Display) -> int:
    """Import (or check) what lies at `options.path` and print a summary; gives the number of products that failed.

    Raises UsageError and LookalikeError.
    """
    try:
        async with (
            Fetcher(concurrency=options.fetches, timeout=options.fetch_timeout) as fetcher,
            open_catalog(options.path, fetcher=fetcher, category=options.category) as catalog,
        ):
            path = failures_path(catalog, options.failures)
            doing = "checking" if options.dry_run else "importing"
            progress = open_progress(display.errors, total=catalog.total, doing=doing)
            with Failures(catalog, path) as failures:
                run = _Run(catalog, fetcher, failures, progress)
                try:
                    with progress:
                        if options.dry_run:
                            await run.check(keep=bool(options.failures))
                        else:
                            await run.load(client)
                finally:
                    # Also after an error: what was answered is in the catalog.
                    display.line(run.summary(checked=options.dry_run))
            if failures.count:
                display.errors.print(f"what failed is in {path}; mend it and import it", soft_wrap=True, markup=False)
            return run.failed
    except (CatalogUnreadable, ExtraMissing, FailuresUnwritable) as error:
        raise UsageError(str(error)) from error


class _Run:
    def __init__(self, catalog: Catalog, fetcher: Fetcher, failures: Failures, progress: Progress) -> None:
        self.failed = 0
        self._catalog = catalog
        self._fetcher = fetcher
        self._failures = failures
        self._progress = progress
        self._outcomes: Counter[int] = Counter()
        self._under_way: deque[Row] = deque()
        self._began = time.monotonic()

    async def load(self, client: Client) -> None:
        async with (
            aclosing(self._products()) as products,
            aclosing(client.import_products(products)) as outcomes,
        ):
            async for outcome in outcomes:
                self._answered(outcome)

    async def _products(self) -> AsyncGenerator[Product, None]:
        async with aclosing(load(self._catalog, fetcher=self._fetcher)) as rows:
            async for loaded in rows:
                if loaded.product is None:
                    self._fail(loaded.row, "; ".join(loaded.problems))
                else:
                    self._under_way.append(loaded.row)
                    yield loaded.product

    def _answered(self, outcome: ImportProductsResponse) -> None:
        row = self._under_way.popleft()
        if outcome.outcome == IMPORT_OUTCOME_FAILED:
            error = error_from_status(outcome.error)
            self._fail(row, f"{error.reason}: {error}" if error.reason else str(error))
        else:
            self._outcomes[outcome.outcome] += 1
            self._progress.advance(failed=False)

    async def check(self, *, keep: bool) -> None:
        async with aclosing(check(self._catalog, fetcher=self._fetcher, inspect=image_problem)) as rows:
            async for loaded in rows:
                if not loaded.problems:
                    self._progress.advance(failed=False)
                    continue
                self.failed += 1
                for problem in loaded.problems:
                    self._progress.say(f"{self._where(loaded.row)}: {problem}")
                if keep:
                    self._failures.add(loaded.row, "; ".join(loaded.problems))
                self._progress.advance(failed=True)

    def _fail(self, row: Row, problem: str) -> None:
        self.failed += 1
        if self.failed <= MOST_FAILURES_SHOWN:
            self._progress.say(f"{self._where(row)}: {problem}")
        elif self.failed == MOST_FAILURES_SHOWN + 1:
            self._progress.say(f"more failures are not shown; {self._failures.path} has them all")
        self._failures.add(row, problem)
        self._progress.advance(failed=True)

    def _where(self, row: Row) -> str:
        return f"{self._catalog.name} row {row.number}" + (f" ({row.label})" if row.label else "")

    def summary(self, *, checked: bool) -> str:
        seconds = time.monotonic() - self._began
        if checked:
            return f"checked {counted(self._catalog.total, 'product')} in {seconds:.1f} s: {self.failed} with problems"
        imported = self._outcomes.total()
        kinds = ", ".join(f"{self._outcomes[kind]} {word}" for kind, word in SHOWN.items() if self._outcomes[kind])
        done = f"imported {counted(imported, 'product')}" + (f" ({kinds})" if kinds else "")
        rate = f"{imported / seconds:.1f}/s" if seconds > 0 else ""
        return f"{done}, {self.failed} failed, in {seconds:.1f} s ({rate})"
