"""The ports through which use cases reach the index and the catalog of record (model.py has the one to the models)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lookalike_service.filter import Node
from lookalike_service.model import Entry, IndexedView, Pending, Product, Ranking, View

__all__ = ["ImageStore", "Index", "Store", "VersionedIndex"]


class Index(Protocol):
    """The garment views of the catalogs, searchable by looks; a projection of the Store."""

    async def prepare(self, catalog: str) -> None:
        """Make the catalog's collection ready for everything else. Raises IndexUnavailable, StartupError."""
        ...

    async def search(
        self,
        catalog: str,
        vectors: npt.NDArray[np.float32],
        *,
        limit: int,
        filter: Node | None = None,
        timeout: float | None = None,
    ) -> list[Ranking]:
        """Rank products for each row of `vectors` (n, d), in one call: `limit` of them wherever that many exist.

        Raises IndexUnavailable, DeadlineExceeded.
        """
        ...

    async def upsert(self, catalog: str, entries: Sequence[Entry], *, timeout: float | None = None) -> None:
        """Write views, replacing those of the same id. Raises IndexUnavailable, DeadlineExceeded."""
        ...

    async def delete(self, catalog: str, view_ids: Sequence[str], *, timeout: float | None = None) -> None:
        """Delete views; those that are gone already are no error. Raises IndexUnavailable, DeadlineExceeded."""
        ...

    def scan(self, catalog: str) -> AsyncIterator[Sequence[IndexedView]]:
        """All views of the catalog, some hundreds at a time and in no order; of fresh writes perhaps not all.

        Raises IndexUnavailable.
        """
        ...

    async def revisions(self, catalog: str, view_ids: Sequence[str]) -> dict[str, int]:
        """The revisions of those among `view_ids` that the index has, every acknowledged write included.

        Raises IndexUnavailable.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class VersionedIndex(Index, Protocol):
    """An Index that takes the place of another version's, and leaves it."""

    async def point(self, catalog: str) -> None:
        """Let the catalog's public name mean this version's collection. Raises IndexUnavailable."""
        ...

    async def drop(self, catalog: str) -> None:
        """Throw this version's collection away. Raises IndexUnavailable, StartupError while it is the public one."""
        ...


class Store(Protocol):
    """The catalog of record. Every method raises StoreUnavailable."""

    async def products(
        self, catalog: str, ids: Sequence[str], *, views: bool = False, deleted: bool = False
    ) -> dict[str, Product]:
        """Read the products that exist among `ids`, and what deleted ones left when asked for.

        `views` only when asked for, since they hold vectors.
        """
        ...

    async def shown(
        self, catalog: str, views: Mapping[str, str], *, embedding_version: int
    ) -> dict[str, tuple[Product, View]]:
        """Read what is shown of `views`, whose ids come with their products': both, and neither's vectors.

        By the views' ids; what is gone is left out.
        """
        ...

    async def page(
        self,
        catalog: str,
        *,
        after: str = "",
        until: str | None = None,
        limit: int = 50,
        filter: Node | None = None,
        embedding_version: int = 0,
        views: bool = False,
    ) -> list[Product]:
        """List products in the order of their ids, beginning behind `after` and ending with `until`.

        The filter looks at the views of that embedding version, of 0 at those of all.
        """
        ...

    async def stretch(self, catalog: str, *, after: str, rows: int) -> str | None:
        """The id of the `rows`-th product behind `after`; None when there are fewer."""
        ...

    async def write(
        self, product: Product, *, expected_revision: int, pending: bool, expected_deleted: bool = False
    ) -> Pending | None:
        """Insert (`expected_revision` 0) or replace a product with its images and views, in one commit.

        `expected_deleted` replaces what a deleted product left, and `product` may be just that. With `pending` an
        outbox entry is committed along and returned. Raises RevisionOutdated when what is stored has another revision
        than expected, VersionsOutdated when the views are not of the embedding versions that the catalog has.
        """
        ...

    async def delete(self, catalog: str, product_id: str, *, expected_revision: int, revision: int = 0) -> Pending:
        """Delete a product with an outbox entry, in one commit; `revision` stays, or else the one that was deleted.

        Raises RevisionOutdated as `write` does.
        """
        ...

    async def pending(self, *, limit: int, catalog: str = "") -> list[Pending]:
        """Read the oldest outbox entries, of one catalog or of all."""
        ...

    async def settle(self, entries: Sequence[Pending]) -> None:
        """Remove outbox entries whose change is in the index."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ImageStore(Protocol):
    """The photographs, by their SHA-256. Every method raises StoreUnavailable."""

    async def put(self, content: bytes) -> str:
        """Store the bytes durably and return their SHA-256 in hexadecimal; storing them again is cheap."""
        ...

    async def get(self, sha256: str) -> bytes | None:
        """Read an image; None when there is none of that name."""
        ...
