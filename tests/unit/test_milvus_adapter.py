"""What the index sends to Milvus, without one: how writes are cut, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike_service.errors import StartupError
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.milvus_collections import Collections
from lookalike_service.milvus_versions import VERSIONS
from lookalike_service.model import Attribute, Box, Entry, Product, View

DIMENSION = 256
OPTIONS = MilvusOptions("http://127.0.0.1:9", batch=2000)


class Writer:
    """Remembers what it is asked to write."""

    def __init__(self) -> None:
        self.upserts: list[list[dict[str, Any]]] = []
        self.deletes: list[list[str]] = []

    def upsert(self, collection: str, rows: list[dict[str, Any]], *, timeout: float) -> None:
        assert 0 < timeout <= OPTIONS.call_seconds
        self.upserts.append(rows)

    def delete(self, collection: str, *, ids: list[str], timeout: float) -> None:
        assert 0 < timeout <= OPTIONS.call_seconds
        self.deletes.append(ids)


def index_over(writer: Writer) -> MilvusIndex:
    collections = Collections(writer, OPTIONS, VERSIONS[0], dimension=DIMENSION)
    return MilvusIndex(OPTIONS, writer=writer, collections=collections, embedding_version=1, dimension=DIMENSION)


def entries(count: int, attributes: dict[str, Attribute]) -> list[Entry]:
    view = View("p/0", "0" * 64, Box(0, 0, 1, 1), "top", ("red",), "", 1, np.zeros(DIMENSION, np.float16))
    return [Entry(Product("default", f"p{number}", attributes=attributes), view) for number in range(count)]


async def test_writes_are_cut_into_batches() -> None:
    writer = Writer()
    await index_over(writer).upsert("default", entries(4500, {}))
    await index_over(writer).delete("default", [f"p{number}/0" for number in range(4001)])
    await index_over(writer).upsert("default", [])
    assert [len(rows) for rows in writer.upserts] == [2000, 2000, 500]
    assert [len(ids) for ids in writer.deletes] == [2000, 2000, 1]
    assert [row["product_id"] for rows in writer.upserts for row in rows] == [f"p{number}" for number in range(4500)]


@pytest.mark.parametrize("letter", ["x", "日"])
async def test_no_batch_is_more_than_a_server_takes_in_one_message(letter: str) -> None:
    """It refuses 64 MiB; 2,000 products with all the attributes that the API allows are more."""
    attributes: dict[str, Attribute] = {f"key{number}": letter * (480 // len(letter.encode())) for number in range(64)}
    writer = Writer()
    await index_over(writer).upsert("default", entries(2500, attributes))
    assert sum(map(len, writer.upserts)) == 2500
    per_row = DIMENSION * 4 + sum(len(key) + len(str(value).encode()) for key, value in attributes.items()) + 1000
    assert all(len(rows) * per_row < 64 * 1024 * 1024 for rows in writer.upserts)
    assert 2 <= len(writer.upserts) < 10


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ca_certificate": "/nowhere.pem"}, "LOOKALIKE_MILVUS_CA_CERTIFICATE names /nowhere.pem, which is no file"),
        ({"ca_certificate": __file__}, "begin LOOKALIKE_MILVUS_URI with https://"),
        ({"client_certificate": __file__}, "needs LOOKALIKE_MILVUS_CLIENT_KEY and LOOKALIKE_MILVUS_CA_CERTIFICATE"),
    ],
)
async def test_certificates_that_do_not_fit_are_refused_at_once(changes: dict[str, str], sentence: str) -> None:
    assert Path(__file__).is_file()
    with pytest.raises(StartupError, match=sentence):
        await MilvusIndex.connect(MilvusOptions("http://127.0.0.1:9", **changes), embedding_version=1, dimension=4)  # type: ignore[arg-type]


async def test_a_password_in_the_address_is_not_repeated() -> None:
    options = MilvusOptions("http://root:secret@127.0.0.1:9")
    with pytest.raises(StartupError, match=r"Milvus at http://127\.0\.0\.1:9 did not answer") as caught:
        await MilvusIndex.connect(options, embedding_version=1, dimension=4, timeout=0.2)
    assert "secret" not in str(caught.value)
