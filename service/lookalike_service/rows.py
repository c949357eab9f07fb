"""The rows of the index: garment views on their way in, rankings of products on their way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from lookalike_service.errors import VersionsOutdated
from lookalike_service.model import Entry, Match, Ranking

__all__ = ["FIELDS", "check_versions", "grouped", "row_of"]

# What a hit brings back beside its id. What is shown of a view, the catalog of record knows; reading it here from every
# row near a vector, of which few are shown, took Milvus and its client a third of their time.
FIELDS: Final = ["product_id", "revision"]


def check_versions(entries: Iterable[Entry], version: int, *, catalog: str) -> None:
    """Raises VersionsOutdated for a vector of another embedding version: cosines with it would mean nothing."""
    for entry in entries:
        if entry.view.embedding_version != version:
            raise VersionsOutdated(
                f"product {entry.product.id} has a vector of version {entry.view.embedding_version}, and this is the "
                f"collection of version {version}; `lookalike reindex {version} --catalog {catalog}` embeds it anew"
            )


def row_of(entry: Entry) -> dict[str, Any]:
    """The row of a garment view; a missing price is -1, since servers of 2.3 know no null."""
    product, view = entry.product, entry.view
    return {
        "id": view.id,
        "product_id": product.id,
        "image_sha256": view.image_sha256,
        "category": view.category,
        "brand": product.brand,
        "pattern": view.pattern,
        "price": product.price.amount_minor if product.price else -1,
        "available": product.available,
        "colours": list(view.colours),
        "box": [view.box.x0, view.box.y0, view.box.x1, view.box.y1],
        "embedding_version": view.embedding_version,
        "revision": product.indexed_revision,
        "attributes": dict(product.attributes),
        "embedding": view.embedding.astype(np.float32),
    }


def grouped(hits: Sequence[dict[str, Any]], *, limit: int, complete: bool) -> Ranking:
    """Rank products by the best of their rows; `complete` says that the rows are all that there are."""
    best: dict[str, dict[str, Any]] = {}
    for hit in hits:
        known = best.get(hit["product_id"])
        if known is None or hit["score"] > known["score"]:
            best[hit["product_id"]] = hit
    ranked = sorted(best.values(), key=lambda hit: (-hit["score"], hit["product_id"]))
    matches = tuple(
        Match(
            product_id=hit["product_id"],
            score=max(-1.0, min(1.0, float(hit["score"]))),
            view_id=hit["id"],
            revision=int(hit["revision"]),
        )
        for hit in ranked[:limit]
    )
    return Ranking(matches, complete=complete and len(ranked) <= limit)
