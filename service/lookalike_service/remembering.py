"""What the tokens of earlier answers hold, garments and embedding version: no model runs for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from lookalike_service.errors import GarmentTokenInvalid, PageTokenInvalid
from lookalike_service.model import Garment
from lookalike_service.queries import Seen
from lookalike_service.tokens import GarmentMemory, Tokens, expanded
from lookalike_service.versions import Pair, Snapshot

__all__ = ["MOST_GARMENTS", "of_page", "remembered"]

MOST_GARMENTS: Final = 16


def remembered(
    given: Sequence[str], tokens: Tokens, versions: Snapshot, *, catalog: str, asked: int
) -> tuple[Pair, list[Seen]]:
    """The garments, and the version of their vectors, which answers: an answer is of one version.

    `asked` is the version that the caller wants, 0 for that of the tokens. Raises GarmentTokenInvalid, RequestInvalid.
    """
    if asked:
        versions.choose(catalog, asked=asked)
    if not 1 <= len(given) <= MOST_GARMENTS:
        raise GarmentTokenInvalid(f"{len(given)} garment tokens; at least 1 and at most {MOST_GARMENTS}")
    dimensions = versions.dimensions(catalog)
    memories = [tokens.read_garment(token, catalog=catalog, dimensions=dimensions) for token in given]
    held = sorted({memory.embedding_version for memory in memories})
    if len(held) > 1 or asked not in (0, *held):
        wanted = f"version {asked} is asked for" if asked else "one search is of one version"
        raise GarmentTokenInvalid(
            f"the garment tokens hold vectors of version {' and '.join(map(str, held))}, and {wanted}; search with the "
            "photo again to get new ones"
        )
    seen = [_seen(memory, token) for memory, token in zip(memories, given, strict=True)]
    return versions.choose(catalog, asked=held[0]), seen


def of_page(versions: Snapshot, catalog: str, version: int, *, asked: int) -> Pair:
    """The version that a list began with, which its pages keep. Raises PageTokenInvalid when it is no more."""
    if version not in versions.dimensions(catalog) or asked not in (0, version):
        raise PageTokenInvalid(
            f"the page token is of a list by embedding version {version}, which is not asked for or no longer served; "
            "begin again without one"
        )
    return versions.choose(catalog, asked=version)


def _seen(memory: GarmentMemory, token: str) -> Seen:
    garment = Garment(
        box=memory.box,
        crop_box=memory.box,
        score=memory.score,
        source=memory.source,
        category=memory.category,
        categories=(),
        colours=(),
        patterns=(),
        materials=(),
        landmarks=np.empty((0, 3), np.float32),
        mask=np.empty((0, 0), np.uint8),
        embedding=expanded(memory.vector),
    )
    return Seen(garment, memory.region_id, memory.looks, token, memory.vector)
