"""What the search side is asked, and what it answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lookalike_service.model import Box, Garment, Looks, Product, View
from lookalike_service.telemetry import Timings

__all__ = ["Analysis", "CategoryMode", "GarmentHits", "Hit", "Lookalikes", "PhotoQuery", "Region", "Seen", "Terms"]


class CategoryMode(enum.Enum):
    """Whether a hit must be of the query's category."""

    OFF = 1
    PREFER = 2
    STRICT = 3


@dataclass(frozen=True, slots=True)
class Region:
    """A place on the photo that the caller points at."""

    box: Box
    id: str = ""


@dataclass(frozen=True, slots=True)
class PhotoQuery:
    """What to look for on a photo; zeros are the models' defaults."""

    image: bytes = field(repr=False)
    regions: tuple[Region, ...] = ()
    max_garments: int = 0
    min_garment_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Which products, how many, and from where on; `min_score` 0 is no bound.

    `reranking` says how much agreement in colours and in pattern is added to a score, 0..1 each.
    """

    filter: str = ""
    category_mode: CategoryMode = CategoryMode.OFF
    page_size: int = 0
    page_token: str = ""
    min_score: float = 0.0
    reranking: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that looks like the query: cosine, and the view that was found, without its vector."""

    product: Product
    score: float
    view: View


@dataclass(frozen=True, slots=True)
class Seen:
    """A garment of the query; `vector` is the embedding as `tokens.compact` writes it."""

    garment: Garment
    region_id: str
    looks: Looks
    token: str
    vector: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GarmentHits:
    """One garment of the query and a page of its lookalikes."""

    seen: Seen
    hits: tuple[Hit, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The garments of a photo, with their hits if it was a search."""

    results: tuple[GarmentHits, ...]
    embedding_version: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Lookalikes:
    """A page of the lookalikes of a product."""

    hits: tuple[Hit, ...]
    next_page_token: str
    embedding_version: int
    timings: Timings
