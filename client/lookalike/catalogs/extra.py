"""Packages that only some imports need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ExtraMissing", "needs_extra"]


class ExtraMissing(Exception):
    """A package is not installed; the text names the extra that brings it."""


@contextmanager
def needs_extra(doing: str) -> Iterator[None]:
    """Raises ExtraMissing in place of ImportError."""
    try:
        yield
    except ImportError as error:
        raise ExtraMissing(f"{doing} needs more packages: pip install 'lookalike[import]' ({error})") from error
