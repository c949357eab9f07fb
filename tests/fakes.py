"""In-memory stand-ins for the models and the index; the contract suite runs the index beside the real ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
import operator
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike_service.errors import ImageUnreadable
from lookalike_service.filter import And, Comparison, Node, Or, without_not
from lookalike_service.model import Box, Entry, Found, Garment, IndexedView, Label, Ranking, Source, Vocabularies
from lookalike_service.rows import grouped, row_of

DIMENSION = 32
ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def vector(look: str, *, variation: str = "", amount: float = 0.05) -> npt.NDArray[np.float32]:
    """A unit vector for a look; variations of one look lie close together."""

    def noise(seed: str) -> npt.NDArray[np.float64]:
        digest = hashlib.sha256(seed.encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(size=DIMENSION)

    whole = noise(look) + (amount * noise(look + "/" + variation) if variation else 0)
    unit: npt.NDArray[np.float32] = (whole / np.linalg.norm(whole)).astype(np.float32)
    return unit


def by(version: int) -> str:
    """What distinguishes the looks that a later embedding version sees from those of the first."""
    return "" if version == 1 else f" by version {version}"


def photo(*garments: dict[str, Any]) -> bytes:
    """A "photo" that FakeFinder can read: what is on it, as JSON.

    Keys: look, variation (of `vector`), category, box, score, colors (with their shares, largest first), pattern.
    """
    return json.dumps(garments).encode()


class FakeFinder:
    """A GarmentFinder that reads `photo`s; `failure` is raised instead, `gate` holds calls back until it is set.

    Each version sees every look in its own way.
    """

    embedding_size = DIMENSION
    vocabularies = Vocabularies()
    capacity = 32

    def __init__(self, embedding_version: int = 1) -> None:
        self.embedding_version = embedding_version
        self.calls = 0
        self.answered = self.failed = 0.0
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.closed = False

    async def find(
        self,
        image: bytes,
        *,
        regions: Sequence[Box] = (),
        min_score: float = 0.0,
        max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:
        self.calls += 1
        if self.gate:
            await self.gate.wait()
        if self.failure:
            self.failed = time.monotonic()
            raise self.failure
        self.answered = time.monotonic()
        try:
            worn = json.loads(image)
        except ValueError as error:
            raise ImageUnreadable("these bytes are no image") from error
        if regions:
            garments = [self._garment(worn[0], box=box, source=Source.REGION) for box in regions]
        elif worn:
            garments = [self._garment(each, box=Box(*each.get("box", (0.1, 0.1, 0.9, 0.9)))) for each in worn]
        else:
            garments = [self._garment({"look": "nothing"}, box=Box(0, 0, 1, 1), source=Source.WHOLE_IMAGE)]
        return Found(tuple(garments[: max_garments or 16]), self.embedding_version, 0.001)

    def _garment(self, worn: dict[str, Any], *, box: Box, source: Source = Source.DETECTED) -> Garment:
        return garment(worn, version=self.embedding_version, box=box, source=source)

    async def close(self) -> None:
        self.closed = True


def garment(worn: dict[str, Any], *, version: int, box: Box, source: Source) -> Garment:
    category = worn.get("category", "top")
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 255
    return Garment(
        box=box,
        crop_box=box,
        score=worn.get("score", 0.9),
        source=source,
        category=category.split("/")[0],
        categories=(Label(category, 0.9),),
        colours=tuple(Label(name, share) for name, share in worn.get("colors", {"red": 0.5}).items()),
        patterns=(Label(worn.get("pattern", "solid"), 0.8),),
        materials=(),
        landmarks=np.full((8, 3), 0.5, np.float32),
        mask=mask,
        embedding=vector(worn["look"] + by(version), variation=worn.get("variation", "")),
    )


class MemoryIndex:
    """An Index in a dictionary, searched exactly; `failure` is raised instead, `gate` holds searches back."""

    def __init__(self) -> None:
        self.catalogs: dict[str, dict[str, Entry]] = {}
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.searches = 0
        self.upserted = 0
        self.pointed: dict[str, bool] = {}
        self.closed = False

    async def prepare(self, catalog: str) -> None:
        self._entries(catalog)

    async def search(
        self,
        catalog: str,
        vectors: npt.NDArray[np.float32],
        *,
        limit: int,
        filter: Node | None = None,
        timeout: float | None = None,
    ) -> list[Ranking]:
        self.searches += 1
        if self.gate:
            await self.gate.wait()
        tree = without_not(filter) if filter else None
        entries = [entry for entry in self._entries(catalog).values() if tree is None or holds(tree, entry)]
        matrix = np.array([entry.view.embedding for entry in entries], np.float32).reshape(-1, vectors.shape[1])
        rankings = []
        for scores in vectors @ matrix.T:
            rows = [{**row_of(entry), "score": float(score)} for entry, score in zip(entries, scores, strict=True)]
            rankings.append(grouped(rows, limit=limit, complete=True))
        return rankings

    async def upsert(self, catalog: str, entries: Sequence[Entry], *, timeout: float | None = None) -> None:
        self._entries(catalog).update({entry.view.id: entry for entry in entries})
        self.upserted += len(entries)

    async def delete(self, catalog: str, view_ids: Sequence[str], *, timeout: float | None = None) -> None:
        for view_id in view_ids:
            self._entries(catalog).pop(view_id, None)

    async def scan(self, catalog: str) -> AsyncIterator[Sequence[IndexedView]]:
        entries = list(self._entries(catalog).values())
        for begin in range(0, len(entries), 100):
            yield [
                IndexedView(entry.view.id, entry.product.id, entry.product.indexed_revision)
                for entry in entries[begin : begin + 100]
            ]

    async def revisions(self, catalog: str, view_ids: Sequence[str]) -> dict[str, int]:
        entries = self._entries(catalog)
        return {id: entries[id].product.indexed_revision for id in view_ids if id in entries}

    async def point(self, catalog: str) -> None:
        self._entries(catalog)
        self.pointed[catalog] = True

    async def drop(self, catalog: str) -> None:
        self._entries(catalog)
        del self.catalogs[catalog]

    async def close(self) -> None:
        self.closed = True

    def _entries(self, catalog: str) -> dict[str, Entry]:
        if self.failure:
            raise self.failure
        return self.catalogs.setdefault(catalog, {})


def holds(node: Node, entry: Entry) -> bool:
    """Whether a filter without NOT holds for a view."""
    match node:
        case And(nodes):
            return all(holds(each, entry) for each in nodes)
        case Or(nodes):
            return any(holds(each, entry) for each in nodes)
        case Comparison(field, sign, value, attribute):
            actual = entry.product.attributes.get(field) if attribute else _field(field, entry)
            equal = actual == value and isinstance(actual, bool) == isinstance(value, bool)
            if field == "category" and not attribute:
                equal = equal or str(actual).startswith(f"{value}/")
            if sign in (":", "!:"):
                return (value in entry.view.colours) is (sign == ":")
            if sign in ("=", "!="):
                return equal is (sign == "=")
            number = isinstance(actual, (int, float)) and not isinstance(actual, bool)
            return number and ORDERINGS[sign](actual, value)
        case _:
            raise AssertionError(node)


def _field(field: str, entry: Entry) -> object:
    price = entry.product.price.amount_minor if entry.product.price else None
    values: dict[str, object] = {
        "category": entry.view.category,
        "brand": entry.product.brand,
        "price": price,
        "available": entry.product.available,
        "pattern": entry.view.pattern,
        "colors": entry.view.colours,
    }
    return values[field]
