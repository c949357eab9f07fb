"""The values of 'others also viewed', and the port to where views are kept."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from lookalike_service.companions import Decay, Shared
from lookalike_service.filter import Node

__all__ = ["DAY_SECONDS", "Counts", "Fate", "PageView", "PageViewStore", "SessionView"]

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class PageView:
    """Somebody looked at a product, as the shop reports it; `seconds` since 1970."""

    catalog: str
    product_id: str
    session: str
    seconds: int


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session, by its keyed hash, looked at a product of some catalog; `day` counts from 1970 (UTC)."""

    session: bytes
    product_id: str
    day: int


class Fate(enum.Enum):
    """What became of a view; `value` is its name in the metrics."""

    ACCEPTED = "accepted"
    UNKNOWN_PRODUCT = "unknown_product"
    OUT_OF_WINDOW = "out_of_window"
    OVER_SESSION_LIMIT = "over_session_limit"


Counts = dict[Fate, int]


class PageViewStore(Protocol):
    """Views by session, and how many sessions looked at a product on a day. Every method raises StoreUnavailable."""

    async def add(self, catalog: str, views: Sequence[SessionView], *, most: int) -> list[Fate]:
        """Keep views, in one commit, and say of each what became of it: of a session and a product the latest day.

        A product beyond the first `most` of its session is left out.
        """
        ...

    async def shared(
        self, catalog: str, product_id: str, *, decay: Decay, sessions: int, least: int, limit: int
    ) -> Shared:
        """Count the products that the product's latest `sessions` sessions looked at, too.

        Those of at least `least` sessions, and of them the `limit` with the most.
        """
        ...

    async def holding(
        self, catalog: str, ids: Collection[str], *, filter: Node | None, embedding_version: int = 0
    ) -> set[str]:
        """Those of the products that exist and for which the filter holds, as in a list of products.

        The filter looks at the views of that embedding version, of 0 at those of all.
        """
        ...

    async def forget(self, catalog: str, session: bytes) -> int:
        """Delete the views of a session and return how many there were."""
        ...

    async def prune(self, *, before: int) -> int:
        """Delete some hundred products' views of days before this one; 0 when there are none left."""
        ...

    async def first_day(self, *, most: int) -> int:
        """The earliest day from which on at most `most` views are kept, 0 when that is all of them."""
        ...
