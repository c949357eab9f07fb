"""What the index sends to Milvus, without one: kinds of index, how writes are cut, what is refused beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient, MilvusException

from lookalike_service.errors import DeadlineExceeded, IndexUnavailable, StartupError, VersionsOutdated
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.milvus_collections import Collections
from lookalike_service.milvus_versions import VERSIONS
from lookalike_service.model import Attribute, Box, Entry, Product, View
from support_gateway import eventually

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


class Maker(MilvusClient):  # type: ignore[misc]
    """A server without collections that remembers the index that it is asked to build."""

    def __init__(self) -> None:
        self.built: dict[str, Any] = {}

    def has_collection(self, name: str, **_: Any) -> bool:  # noqa: ANN401
        return False

    def create_collection(self, name: str, *, index_params: Any, **_: Any) -> None:  # noqa: ANN401
        [index] = index_params
        self.built = index.get_index_configs()

    def describe_collection(self, name: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"fields": [{"name": "embedding", "params": {"dim": DIMENSION}}]}

    def describe_index(self, name: str, field: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        return self.built

    def list_aliases(self, name: str, **_: Any) -> dict[str, list[str]]:  # noqa: ANN401
        return {}

    def list_collections(self, **_: Any) -> list[str]:  # noqa: ANN401
        return []

    def create_alias(self, name: str, alias: str, **_: Any) -> None: ...  # noqa: ANN401

    def load_collection(self, name: str, **_: Any) -> None: ...  # noqa: ANN401


@pytest.mark.parametrize(
    ("kind", "built", "searched", "filtered"),
    [
        ("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 64}, {"ef": 64}),
        ("HNSW_SQ", {"M": 16, "efConstruction": 200, "sq_type": "SQ8"}, {"ef": 64}, {"ef": 64}),
        ("IVF_SQ8", {"nlist": 1024}, {"nprobe": 32}, {"nprobe": 32}),
        (
            "IVF_RABITQ",
            {"nlist": 1024, "refine": True, "refine_type": "SQ8"},
            {"nprobe": 32, "refine_k": 4},
            {"nprobe": 32, "refine_k": 4},
        ),
        ("FLAT", {}, {}, {}),
    ],
)
def test_each_kind_is_built_and_searched_with_its_own_parameters(
    kind: str, built: dict[str, Any], searched: dict[str, int], filtered: dict[str, int]
) -> None:
    maker = Maker()
    collections = Collections(maker, replace(OPTIONS, index_kind=kind), VERSIONS[-1], dimension=DIMENSION)
    collections.prepare("garments_default_1", alias="garments_default")
    assert maker.built == {"index_type": kind, "metric_type": "COSINE", **built}
    assert collections.search_parameters("garments_default_1", rows=32) == searched
    assert collections.search_parameters("garments_default_1", rows=32, filtered=True) == filtered


def test_lite_looks_at_everything_when_a_filter_is_given() -> None:
    """It filters only what it has found within ef."""
    collections = Collections(Maker(), OPTIONS, VERSIONS[0], dimension=DIMENSION)
    assert collections.search_parameters("garments_default_1", rows=32) == {"ef": 64}
    assert collections.search_parameters("garments_default_1", rows=32, filtered=True) == {"ef": 16384}


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


@pytest.mark.parametrize("said", ["disk quota exceeded, please allocate more", "[Errno 28] No space left on device"])
async def test_no_space_left_is_said(said: str) -> None:
    class Full(Writer):
        def upsert(self, collection: str, rows: list[dict[str, Any]], *, timeout: float) -> None:
            raise MilvusException(message=said)

    with pytest.raises(IndexUnavailable, match="the index takes no more: it has no space left"):
        await index_over(Full()).upsert("default", entries(1, {}))


async def test_vectors_of_another_version_are_refused() -> None:
    writer = Writer()
    [entry] = entries(1, {})
    wrong = Entry(entry.product, replace(entry.view, embedding_version=2))
    with pytest.raises(VersionsOutdated, match="`lookalike reindex 1 --catalog default` embeds it anew"):
        await index_over(writer).upsert("default", [entry, wrong])
    assert writer.upserts == []


class Restarted(Writer):
    """Has its collection on disk only, until somebody loads it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.refused = threading.Event()

    def upsert(self, collection: str, rows: list[dict[str, Any]], *, timeout: float) -> None:
        if not self.loads:
            raise MilvusException(code=101, message=f"collection {collection} is in state released")
        super().upsert(collection, rows, timeout=timeout)

    def has_collection(self, collection: str, *, timeout: float) -> bool:
        return True

    def describe_collection(self, collection: str, *, timeout: float) -> dict[str, Any]:
        return {"fields": [{"name": "embedding", "params": {"dim": DIMENSION}}]}

    def describe_index(self, collection: str, name: str, *, timeout: float) -> dict[str, Any]:
        return {"index_type": "HNSW"}

    def list_aliases(self, collection: str, *, timeout: float) -> dict[str, Any]:
        return {"aliases": ["garments_default"]}

    def load_collection(self, collection: str, *, timeout: float) -> None:
        self.refused.wait(10)
        self.loads += 1


async def test_a_collection_that_a_restart_has_unloaded_is_loaded_again() -> None:
    writer = Restarted()
    index = index_over(writer)
    failures = await asyncio.gather(
        *(index.upsert("default", entries(1, {})) for _ in range(3)), return_exceptions=True
    )
    assert {type(failure) for failure in failures} == {IndexUnavailable}
    writer.refused.set()

    async def written() -> None:
        with contextlib.suppress(IndexUnavailable):
            await index.upsert("default", entries(1, {}))
        assert writer.upserts

    await eventually(written)
    assert writer.loads == 1


class Slow(Writer):
    """Writes only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def upsert(self, collection: str, rows: list[dict[str, Any]], *, timeout: float) -> None:
        self.let.wait(20)
        super().upsert(collection, rows, timeout=timeout)


async def test_a_write_that_is_late_has_ended_before_anybody_is_told() -> None:
    """Else it could land after a newer one, which would be undone."""
    writer = Slow()
    writing = asyncio.create_task(index_over(writer).upsert("default", entries(1, {}), timeout=0.05))
    await asyncio.sleep(0.3)
    assert not writing.done()
    writer.let.set()
    with pytest.raises(DeadlineExceeded):
        await writing
    assert len(writer.upserts) == 1
