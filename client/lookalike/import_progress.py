"""How far an import is, for a progress bar or a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lookalike.v1.product_service_pb2 import (
    IMPORT_OUTCOME_CREATED,
    IMPORT_OUTCOME_FAILED,
    IMPORT_OUTCOME_UNCHANGED,
    IMPORT_OUTCOME_UPDATED,
    ImportProductsResponse,
)

__all__ = ["ImportCount", "ImportProgress", "OnProgress"]


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """What has become of an import so far: products by outcome, and the seconds since it began.

    How many products there will be, only their source knows.
    """

    created: int
    updated: int
    unchanged: int
    failed: int
    seconds: float

    @property
    def answered(self) -> int:
        """How many products have their final answer; the failed ones are among them."""
        return self.created + self.updated + self.unchanged + self.failed

    @property
    def per_second(self) -> float:
        """Answered products per second since the import began; 0 before there is a first."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0


OnProgress = Callable[[ImportProgress], None]


class ImportCount:
    """Counts the answers of one import."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._outcomes: Counter[int] = Counter()

    def after(self, answer: ImportProductsResponse) -> ImportProgress:
        """The progress with this answer in it."""
        self._outcomes[answer.outcome] += 1
        return ImportProgress(
            created=self._outcomes[IMPORT_OUTCOME_CREATED],
            updated=self._outcomes[IMPORT_OUTCOME_UPDATED],
            unchanged=self._outcomes[IMPORT_OUTCOME_UNCHANGED],
            failed=self._outcomes[IMPORT_OUTCOME_FAILED],
            seconds=time.monotonic() - self._began,
        )
