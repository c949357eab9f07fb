"""What fuzzing begins with, made on the spot: small pictures whole and broken, filters, tokens, requests."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from PIL import Image

from lookalike.v1 import garment_pb2, product_pb2, product_service_pb2, search_service_pb2
from lookalike_service.keys import new_key

__all__ = ["METHODS", "write_corpus"]

METHODS = (
    search_service_pb2.SearchProductsRequest,
    search_service_pb2.AnalyzeImageRequest,
    search_service_pb2.ListSimilarProductsRequest,
    product_service_pb2.GetProductRequest,
    product_service_pb2.ListProductsRequest,
    product_service_pb2.CreateProductRequest,
    product_service_pb2.UpdateProductRequest,
    product_service_pb2.DeleteProductRequest,
    product_service_pb2.ImportProductsRequest,
)
FILTERS = (
    'category = "dress" AND price < 10000 AND (brand = "a" OR brand = "b") AND available',
    'colors : "red" AND NOT pattern = "solid"',
    'attributes.size != "M" OR attributes.rating >= 4.5 OR attributes.new = true',
    r'brand = "a \"quoted\" \\ name"',
    "((((price >= -9007199254740991))))",
    "NOT NOT available = false",
    'brand = "ü漢🧥"',
)
NAME = "catalogs/default/products/p"


def write_corpus(target: str, folder: Path) -> Path:
    """Add the beginnings of a target to its corpus, which earlier runs have made larger."""
    folder.mkdir(parents=True, exist_ok=True)
    beginnings = {"decode": pictures, "filter": filters, "tokens": tokens, "requests": requests}
    for content in beginnings[target]():
        (folder / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(content)
    return folder


def pictures() -> Iterator[bytes]:
    """Every format and mode in a few pixels, and each of them broken in several ways."""
    whole = [
        _encoded("RGB", "JPEG"),
        _encoded("RGB", "JPEG", progressive=True),
        _encoded("L", "JPEG"),
        _encoded("CMYK", "JPEG"),
        _encoded(
            "RGB", "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00"
        ),
        *(_encoded(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        _encoded("P", "PNG", transparency=0),
        *(_encoded(mode, "GIF") for mode in ("L", "P")),
        *(_encoded(mode, "WEBP", lossless=lossless) for mode in ("RGB", "RGBA") for lossless in (False, True)),
        _animation("GIF"),
        _animation("WEBP"),
    ]
    chance = random.Random(7)
    for content in whole:
        yield content
        yield content[: len(content) // 2]
        yield content[:20]
        for _ in range(3):
            broken = bytearray(content)
            for _ in range(4):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            yield bytes(broken)


def _encoded(mode: str, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((24, 16)).convert("RGB").convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _animation(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "teal", "navy")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=20)
    return buffer.getvalue()


def filters() -> Iterable[bytes]:
    """Filters of every kind."""
    return (text.encode() for text in FILTERS)


def tokens() -> Iterator[bytes]:
    """Names, keys, and what begins like a token; the target adds whole ones, which need its secret."""
    yield from (b"", b"AgAAAAA", b"catalogs/default", NAME.encode(), new_key("web").encode())
    yield b'[[keys]]\nid = "a"\nsha256 = "' + b"0" * 64 + b'"\ncatalogs = ["a"]\nrights = ["search"]\n'


def requests() -> Iterator[bytes]:
    """One request or more of every method, behind the byte that chooses it."""
    box = garment_pb2.Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9)
    region = garment_pb2.Region(box=box, id="r")
    whole = product_pb2.Product(
        name=NAME,
        title="A dress",
        brand="b",
        category="dress/midi",
        price=product_pb2.Money(amount_minor=4990, currency_code="EUR"),
        available=True,
        images=[product_pb2.ProductImage(content=b"photo")],
    )
    examples: dict[int, list[Message]] = {
        0: [
            search_service_pb2.SearchProductsRequest(image=b"photo", filter=FILTERS[0], page_size=3, regions=[region]),
            search_service_pb2.SearchProductsRequest(garments=garment_pb2.GarmentTokens(tokens=["AgAA"])),
        ],
        1: [search_service_pb2.AnalyzeImageRequest(image=b"photo", regions=[region], max_garments=2)],
        2: [search_service_pb2.ListSimilarProductsRequest(name=NAME, page_size=2, min_score=0.5)],
        3: [product_service_pb2.GetProductRequest(name=NAME)],
        4: [product_service_pb2.ListProductsRequest(parent="catalogs/default", filter=FILTERS[2], page_size=2)],
        5: [product_service_pb2.CreateProductRequest(parent="catalogs/default", product_id="p", product=whole)],
        6: [product_service_pb2.UpdateProductRequest(product=whole, update_mask=FieldMask(paths=["title", "price"]))],
        7: [product_service_pb2.DeleteProductRequest(name=NAME, allow_missing=True, revision=7)],
        8: [product_service_pb2.ImportProductsRequest(product=whole)],
    }
    for number, messages in examples.items():
        yield from (bytes([number]) + message.SerializeToString() for message in messages)
