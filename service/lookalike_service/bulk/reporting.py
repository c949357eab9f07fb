"""What a bulk load says: failures as they come, how far it is, and what became of everything."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console

from lookalike.catalogs import Catalog
from lookalike.catalogs.failures import Failures, failures_path
from lookalike.cli.progress import Progress, open_progress
from lookalike.formatting import counted
from lookalike_service.bulk.loading import LoadedPart
from lookalike_service.drafts import Outcome

__all__ = ["Report"]

# The file has them all; a photo server that is away shall not fill the terminal.
MOST_FAILURES_SHOWN = 100
SHOWN = {Outcome.CREATED: "new", Outcome.UPDATED: "changed", Outcome.UNCHANGED: "unchanged"}


class Report:
    """Counts parts as they are done, and keeps why rows have failed until they are written down."""

    def __init__(self, catalog: Catalog, *, failures: str, loads: bool) -> None:
        """`failures` is the file that the user wants, or empty. Raises FailuresUnwritable."""
        self.failed: dict[int, str] = {}
        self._catalog = catalog
        self._path = failures_path(catalog, failures)
        self._doing, self._done = ("loading", "loaded") if loads else ("embedding", "embedded")
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._outcomes: Counter[Outcome] = Counter()
        self._kept = self._products = 0
        self._began = time.monotonic()

    def progress(self, *, total: int) -> Progress:
        """What shows how many of `total` products are done, while it is entered."""
        self._progress = open_progress(self._console, total=total, doing=self._doing)
        return self._progress

    def fail(self, row: int, label: str, reason: str) -> None:
        """A row has failed."""
        self.failed[row] = reason
        if len(self.failed) <= MOST_FAILURES_SHOWN:
            self._say(f"{self._catalog.name} row {row}" + (f" ({label})" if label else "") + f": {reason}")
        elif len(self.failed) == MOST_FAILURES_SHOWN + 1:
            self._say(f"more failures are not shown; {self._path} will have them all")

    def add(self, part: LoadedPart) -> None:
        """A part is done."""
        self._outcomes += part.outcomes
        self._kept += part.kept
        self._products += part.products
        for failure in part.failures:
            self.fail(failure.row, failure.label, failure.reason)
        if self._progress:
            self._progress.advance(failed=False, count=part.products)
            if part.failures:
                self._progress.advance(failed=True, count=len(part.failures))

    def write_failures(self) -> None:
        """Write all that failed into a file of the catalog's own form. Raises FailuresUnwritable."""
        if not self.failed:
            return
        with Failures(self._catalog, self._path) as failures:
            for row in self._catalog.rows():
                if reason := self.failed.get(row.number):
                    failures.add(row, reason)
        self._say(f"what failed is in {self._path}; mend it and import it")

    def summary(self) -> str:
        """What was done, in one line."""
        seconds = time.monotonic() - self._began
        kinds = [f"{self._outcomes[kind]} {word}" for kind, word in SHOWN.items() if self._outcomes[kind]]
        if self._kept:
            kinds.append(f"{self._kept} left as others have changed them since")
        done = f"{self._done} {counted(self._products, 'product')}" + (f" ({', '.join(kinds)})" if kinds else "")
        return f"{done}, {len(self.failed)} failed, in {seconds:.1f} s ({self._products / max(seconds, 1e-9):.1f}/s)"

    def _say(self, text: str) -> None:
        if self._progress:
            self._progress.say(text)
        else:
            self._console.print(text, soft_wrap=True, markup=False)
