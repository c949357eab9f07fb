"""A server whose two embedding versions find what a test says, and judged files for it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from PIL import Image

import lookalike
from lookalike.cli import main
from lookalike.v1.product_service_pb2 import GetProductRequest, GetProductResponse
from lookalike.v1.search_service_pb2 import SearchProductsRequest
from support_client import Context, Script, failure, serving

__all__ = [
    "PHOTOS",
    "PRODUCTS",
    "JudgedServer",
    "evaluate",
    "judged",
    "picture",
    "told",
    "two_versions",
    "write_judged",
]

PRODUCTS = [f"p{number}" for number in range(30)]
COLORS = ("red", "green", "blue", "gold", "navy", "teal", "pink", "gray", "olive", "tan", "plum", "coral")
PHOTOS = [f"{color}.png" for color in COLORS]
COLUMNS = ("photo", "product", "grade", "category", "region")


@dataclass
class JudgedServer(Script):
    """Knows some products, and per version what it finds for a photo's bytes.

    `garments` are the categories on every photo, surest first; each finds the same. `titles` and `uris` are those of
    products, `image_ids` their pictures.
    """

    products: set[str] = field(default_factory=set)
    found: dict[int, dict[bytes, Sequence[str]]] = field(default_factory=dict)
    garments: Sequence[str] = ("dress",)
    titles: dict[str, str] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)
    image_ids: dict[str, str] = field(default_factory=dict)
    # What the server serves when it is not told which version; one after another, the last one stays.
    chosen: list[int] = field(default_factory=lambda: [1])

    async def unary(self, method: str, request: Message, context: Context) -> Message:
        if isinstance(request, GetProductRequest) and request.name.rpartition("/")[2] in self.products:
            self._next(method, GetProductResponse(product=self._product(request.name.rpartition("/")[2])))
        elif isinstance(request, GetProductRequest):
            self._next(method, failure(grpc.StatusCode.NOT_FOUND, "no such product", reason="PRODUCT_NOT_FOUND"))
        elif isinstance(request, SearchProductsRequest):
            self._next(method, self._search(request))
        return await super().unary(method, request, context)

    def searches(self) -> list[SearchProductsRequest]:
        return [request for request in self.requests if isinstance(request, SearchProductsRequest)]

    def _next(self, method: str, answer: Message) -> None:
        # Other calls of the method may be under way, and have their answers already.
        self.answers[method].clear()
        self.say(method, answer)

    def _product(self, id: str) -> lookalike.Product:
        product = lookalike.build_product(
            f"catalogs/default/products/{id}", title=self.titles.get(id, ""), uri=self.uris.get(id, "")
        )
        if id in self.image_ids:
            product.images.add(id=self.image_ids[id])
        return product

    def _search(self, request: SearchProductsRequest) -> Message:
        version = request.embedding_version or (self.chosen.pop(0) if len(self.chosen) > 1 else self.chosen[0])
        if version not in self.found:
            message = f"embedding version {version} is not served"
            refusal: Message = failure(grpc.StatusCode.INVALID_ARGUMENT, message, reason="REQUEST_INVALID")
            return refusal
        hits = [
            lookalike.Hit(product=self._product(id), score=0.9 - place / 100, image_id=self.image_ids.get(id, ""))
            for place, id in enumerate(self.found[version].get(request.image, ()))
        ]
        box = lookalike.Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
        garments = [
            lookalike.Garment(
                box=box,
                source=lookalike.GarmentSource.GARMENT_SOURCE_DETECTED,
                category=category.split("/")[0],
                categories=[lookalike.Label(name=category, score=0.9)],
                score=0.9,
            )
            for category in ([""] * len(request.regions) or self.garments)
        ]
        results = [lookalike.GarmentHits(garment=garment, hits=hits) for garment in garments]
        return lookalike.SearchProductsResponse(results=results, embedding_version=version)


def evaluate(server: Script, *arguments: object) -> int:
    """The exit code of the command against the server."""
    server.gate.set()

    async def serve_and_run() -> int:
        async with serving(server) as address:
            return await asyncio.to_thread(main, ["evaluate", "--server", address, *map(str, arguments)])

    return asyncio.run(serve_and_run())


def write_judged(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """A judged CSV of photo, product, grade, and maybe category and region."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path


def picture(color: str, *, folder: Path | None = None) -> tuple[bytes, str]:
    """A small PNG and its id; where a `folder` is given, it lies there as in an image store."""
    buffer = BytesIO()
    Image.new("RGB", (60, 80), color).save(buffer, "PNG")
    content = buffer.getvalue()
    image_id = hashlib.sha256(content).hexdigest()
    if folder:
        place = folder / image_id[:2] / image_id[2:4]
        place.mkdir(parents=True, exist_ok=True)
        (place / image_id).write_bytes(content)
    return content, image_id


def judged(folder: Path, photos: Sequence[str] = PHOTOS) -> Path:
    """For every photo one product that is alike, and one that is not."""
    rows = [row for place, name in enumerate(photos) for row in ((name, PRODUCTS[place], 3), (name, PRODUCTS[20], 0))]
    return write_judged(folder / "judged.csv", rows)


def two_versions(folder: Path) -> JudgedServer:
    """Puts the photos there. Version 1 finds every photo's product third, version 2 first."""
    server = JudgedServer(products=set(PRODUCTS), found={1: {}, 2: {}})
    for product, color, name in zip(PRODUCTS, COLORS, PHOTOS, strict=False):
        content, _ = picture(color)
        (folder / name).write_bytes(content)
        server.found[1][content] = [PRODUCTS[20], PRODUCTS[21], product]
        server.found[2][content] = [product, PRODUCTS[20], PRODUCTS[21]]
    return server


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command has printed with --json."""
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer
