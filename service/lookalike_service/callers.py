"""Who calls: what his credentials let him do, and how much of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["ALL_CATALOGS", "NOBODY", "Caller", "Right", "caller"]

ALL_CATALOGS: Final = "*"


class Right(StrEnum):
    """What credentials may be for."""

    SEARCH = "search"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a call.

    `name` is the id of his API key, or the name in his certificate; empty without either. `requests_per_second` and
    `photos_at_once` are his quota, 0 for none.
    """

    name: str = ""
    catalogs: frozenset[str] = frozenset({ALL_CATALOGS})
    rights: frozenset[Right] = frozenset(Right)
    requests_per_second: float = 0.0
    photos_at_once: int = 0

    def reaches(self, catalog: str) -> bool:
        """Whether a catalog, existing or not, is any of his business."""
        return ALL_CATALOGS in self.catalogs or catalog in self.catalogs

    def __str__(self) -> str:
        return f"the caller {self.name!r}" if self.name else "the caller"


NOBODY: Final = Caller()
"""A caller of whom nothing is asked: the server has no keys, or works on its own account."""

caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)
"""For whom this task works."""
