"""The values of the field (boxes, garments, products, hits) and the port to the models."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Attribute",
    "Box",
    "Entry",
    "Found",
    "Garment",
    "GarmentFinder",
    "Hint",
    "IndexedView",
    "Label",
    "Looks",
    "Match",
    "Money",
    "Pending",
    "Product",
    "ProductImage",
    "Ranking",
    "Source",
    "View",
    "Vocabularies",
]

Attribute = str | float | bool


# Boxes and labels are made by the hundred for each photo; named tuples cost a third of frozen dataclasses.
class Box(NamedTuple):
    """A rectangle on the upright photo; coordinates 0..1, origin at the top left, x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float


class Label(NamedTuple):
    """One entry of a vocabulary with its probability (or, for colours, its share of the garment)."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Looks:
    """What can be said in words of a garment: its colours with their shares, 0..1, and its pattern."""

    colours: Mapping[str, float] = field(default_factory=dict)
    pattern: str = ""


class Source(enum.IntEnum):
    """Where a garment's box came from (the `source` tensor of the ensemble)."""

    DETECTED = 0
    REGION = 1
    WHOLE_IMAGE = 2


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """What the numbers of the embed stage mean; read from the label files beside the model.

    A category is written `coarse` or `coarse/fine` ("dress", "top/t-shirt"). An empty tuple means that the
    encoder has no such head.
    """

    category: tuple[str, ...] = ()
    pattern: tuple[str, ...] = ()
    material: tuple[str, ...] = ()
    colour: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Garment:
    """One garment of a photo, described by the ensemble.

    `category` is the coarse part of the likeliest category, decided by summed probability; `categories` lists
    the full names, likeliest first; what has less than a hundredth is left out there, in `patterns` and in
    `materials`. `landmarks` is (8, 3) float32: x, y on the upright photo and visibility. `mask` is (m, m) uint8,
    0..255, over `crop_box`. `embedding` is (d,) float32 of unit length.
    """

    box: Box
    crop_box: Box
    score: float
    source: Source
    category: str
    categories: tuple[Label, ...]
    colours: tuple[Label, ...]
    patterns: tuple[Label, ...]
    materials: tuple[Label, ...]
    landmarks: npt.NDArray[np.float32] = field(repr=False)
    mask: npt.NDArray[np.uint8] = field(repr=False)
    embedding: npt.NDArray[np.float32] = field(repr=False)
    detected: str = ""  # the detector's own class ("dress"); empty unless source is DETECTED


@dataclass(frozen=True, slots=True)
class Found:
    """The garments of one photo, the version of their vectors, and the seconds that Triton took."""

    garments: tuple[Garment, ...]
    embedding_version: int
    inference_seconds: float


class GarmentFinder(Protocol):
    """Finds and describes the garments of a photo."""

    embedding_version: int
    embedding_size: int
    vocabularies: Vocabularies
    capacity: int
    """How many photos at once keep the models busy; more would only wait for each other."""
    answered: float
    """When the models last answered (time.monotonic); 0 before they did."""
    failed: float
    """When they last could not be reached or could not work; 0 while that never happened."""

    async def find(
        self,
        image: bytes,
        *,
        regions: Sequence[Box] = (),
        min_score: float = 0.0,
        max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:
        """Describe the garments of an encoded photo, or of the caller's regions when there are any.

        Zeros mean the ensemble's defaults. Raises ImageUnreadable, ImageTooLarge, RegionInvalid, Overloaded,
        ModelUnavailable, DeadlineExceeded (see errors.py).
        """
        ...

    async def close(self) -> None:
        """Let go of connections, once what is under way is over."""
        ...


@dataclass(frozen=True, slots=True)
class Money:
    """A price in the smallest unit of its currency (ISO 4217)."""

    amount_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Which garment of an image is the product: the one in `box`, or the one of `category`; never both."""

    box: Box | None = None
    category: str = ""


@dataclass(frozen=True, slots=True)
class ProductImage:
    """A photograph of a product: SHA-256 of its bytes in hexadecimal, and the merchant's hint."""

    sha256: str
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The product as one of its images shows it: what the index holds of it, and nothing else does.

    `id` is `{product}/{image}/{hint}`, so that an unchanged image with an unchanged hint is the same view.
    `category` is the merchant's, or the model's where the merchant has none. `shares` say how much of the garment
    each of the `colours` covers, 0..1. `embedding` is (d,) float16.
    """

    id: str
    image_sha256: str
    box: Box
    category: str
    colours: tuple[str, ...]
    pattern: str
    embedding_version: int
    embedding: npt.NDArray[np.float16] = field(repr=False, compare=False)
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """One product of record. `indexed_revision` is the revision that last changed anything a search can see.

    A `deleted` one is nothing but its revision, which later writes must exceed.
    """

    catalog: str
    id: str
    title: str = ""
    brand: str = ""
    category: str = ""
    price: Money | None = None
    available: bool = True
    uri: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    images: tuple[ProductImage, ...] = ()
    revision: int = 0
    indexed_revision: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None
    views: tuple[View, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the index: a view with the fields of its product that filters and readers of hits need."""

    product: Product
    view: View


@dataclass(frozen=True, slots=True)
class IndexedView:
    """What tells whether a row of the index is right: its id, its product, and the revision that wrote it."""

    id: str
    product_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Match:
    """A product as the index found it: its best view and the cosine, -1..1."""

    product_id: str
    score: float
    view_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The products nearest to one vector, best first, each once; `complete` when there are no more."""

    matches: tuple[Match, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """An outbox entry: a product whose change the index may not have seen, and the views it had before."""

    sequence: int
    catalog: str
    product_id: str
    stale_views: tuple[str, ...] = ()
