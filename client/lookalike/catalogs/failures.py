"""The file of rows that failed, in the form of the catalog itself, so that it can be imported again."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from lookalike.catalogs.locations import LocationInvalid, resolve, stem_of
from lookalike.catalogs.opening import Catalog
from lookalike.catalogs.sources import FailureWriter, Row

__all__ = ["Failures", "FailuresUnwritable", "failures_path", "free_failures_path"]


class FailuresUnwritable(Exception):
    """The file of failures cannot be written, such as on a full disk; the text says why."""


def free_failures_path(catalog: Catalog, *, folder: Path) -> Path:
    """`products-failures.csv` in the folder, with the first number that no file has."""
    stem = re.sub(r"-failures(-[0-9]+)?$", "", stem_of(catalog.place))
    number = 1
    while True:
        path = folder / f"{stem}-failures{f'-{number}' if number > 1 else ''}{catalog.source.suffix}"
        if not path.exists():
            return path
        number += 1


def failures_path(catalog: Catalog, chosen: str) -> Path:
    """Where failures go, `chosen` or a free place in this folder.

    What would lose them at the end is found before anything is done: raises FailuresUnwritable.
    """
    path = Path(chosen) if chosen else free_failures_path(catalog, folder=Path())
    if chosen and path.suffix.lower() != catalog.source.suffix:
        raise FailuresUnwritable(f"{path} must end with {catalog.source.suffix}: failures have the form of the catalog")
    if isinstance(catalog.place, Path) and path.exists() and path.samefile(catalog.place):
        raise FailuresUnwritable(f"{path} is the catalog itself; --failures needs another file")
    if not os.access(path.absolute().parent, os.W_OK):
        raise FailuresUnwritable(f"{path} cannot be written; --failures FILE names another place for what fails")
    return path


class Failures:
    """Writes rows into a file that begins with the first of them."""

    def __init__(self, catalog: Catalog, path: Path) -> None:
        self.path = path
        self.count = 0
        self._catalog = catalog
        self._writer: FailureWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as failure:
            # What ended the import says more than its consequence.
            if error is None:
                raise self._unwritable(failure) from failure

    def add(self, row: Row, reason: str) -> None:
        """Write a row down. Raises FailuresUnwritable."""
        try:
            if self._writer is None:
                self._writer = self._catalog.source.failures(self.path, relocate=self._relocate)
            self._writer.write(row.raw, reason)
        except OSError as failure:
            raise self._unwritable(failure) from failure
        self.count += 1

    def _unwritable(self, failure: OSError) -> FailuresUnwritable:
        return FailuresUnwritable(f"{self.path} cannot be written ({failure.strerror or failure})")

    def _relocate(self, image: str) -> str:
        base = self._catalog.base
        if isinstance(base, Path):
            base = base.absolute()
            if base == self.path.absolute().parent:
                return image
        try:
            return str(resolve(image, base=base))
        except LocationInvalid:
            return image
