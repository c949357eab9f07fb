"""The table of versions against the engines themselves, asked by pymilvus without the adapter between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException

from fakes import DIMENSION, vector
from lookalike_service.errors import StartupError
from lookalike_service.milvus_collections import alias_of
from lookalike_service.milvus_versions import VERSIONS, Abilities, abilities_of
from support_engines import MilvusAccess

SECONDS = 20


@pytest.fixture
def client(milvus_access: MilvusAccess) -> Iterator[Any]:
    connected = MilvusClient(milvus_access.uri, token=milvus_access.token, timeout=SECONDS, dedicated=True)
    yield connected
    connected.close()


@pytest.fixture
def abilities(client: Any) -> Abilities:  # noqa: ANN401 - pymilvus is untyped
    return abilities_of(client.get_server_version(timeout=SECONDS))


@pytest.fixture
def name(catalog: str) -> str:
    """A collection that is dropped after the test."""
    return f"{alias_of(catalog)}_raw"


def make(client: Any, name: str, *, partition_key: bool = False) -> None:  # noqa: ANN401
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("product", DataType.VARCHAR, max_length=64, is_partition_key=partition_key)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIMENSION)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type="COSINE", params={})
    arguments = {"num_partitions": 16} if partition_key else {}
    client.create_collection(name, schema=schema, index_params=index, timeout=SECONDS, **arguments)
    client.load_collection(name, timeout=SECONDS)


def rows(products: int, *, views: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": f"{product}/{view}", "product": f"p{product}", "embedding": vector(f"{product}", variation=f"{view}")}
        for product in range(products)
        for view in range(views)
    ]


def count(client: Any, name: str, expression: str) -> int:  # noqa: ANN401
    found = client.query(name, filter=expression, output_fields=["id"], consistency_level="Strong", timeout=SECONDS)
    return len(found)


def test_grouping(client: Any, abilities: Abilities, name: str) -> None:  # noqa: ANN401
    make(client, name)
    client.upsert(name, rows(12, views=4), timeout=SECONDS)
    [hits] = client.search(
        name,
        [vector("3")],
        limit=8,
        group_by_field="product",
        output_fields=["product"],
        search_params={"metric_type": "COSINE"},
        consistency_level="Strong",
        timeout=SECONDS,
    )
    products = [hit["entity"]["product"] for hit in hits]
    assert (len(set(products)) == len(products) == 8) is abilities.grouping


def test_partial_update(client: Any, abilities: Abilities, name: str) -> None:  # noqa: ANN401
    make(client, name)
    client.upsert(name, rows(2), timeout=SECONDS)
    try:
        client.upsert(name, [{"id": "1/0", "product": "changed"}], partial_update=True, timeout=SECONDS)
        done = count(client, name, 'product == "changed"') == 1 and count(client, name, 'product == "p1"') == 0
    except MilvusException:
        done = False
    assert done is abilities.partial_update


def test_upserts_into_partitions_by_key(client: Any, abilities: Abilities, name: str) -> None:  # noqa: ANN401
    make(client, name, partition_key=True)
    client.upsert(name, rows(20), timeout=SECONDS)
    found = sum(count(client, name, f'product == "p{product}"') for product in range(20))
    assert (found == 20) is abilities.partition_key_upsert


def test_inserts_of_what_is_there(client: Any, abilities: Abilities, name: str) -> None:  # noqa: ANN401
    make(client, name)
    for _ in range(2):
        client.insert(name, rows(1), timeout=SECONDS)
    [answer] = client.query(
        name, filter='id != ""', output_fields=["count(*)"], consistency_level="Strong", timeout=SECONDS
    )
    assert (answer["count(*)"] == 1) is abilities.insert_replaces


def test_answers_to_deletes(client: Any, abilities: Abilities, name: str) -> None:  # noqa: ANN401
    make(client, name)
    client.upsert(name, rows(3), timeout=SECONDS)
    answer = client.delete(name, filter='product == "p1"', timeout=SECONDS)
    assert isinstance(answer, abilities.delete_answer)
    assert count(client, name, 'id != ""') == 2


async def test_collections_by_the_asynchronous_client(
    client: Any,  # noqa: ANN401
    milvus_access: MilvusAccess,
    abilities: Abilities,
    name: str,
) -> None:
    asynchronous = AsyncMilvusClient(milvus_access.uri, token=milvus_access.token, timeout=SECONDS, dedicated=True)
    try:
        await asynchronous.create_collection(name, dimension=DIMENSION, timeout=5)
        made = client.has_collection(name, timeout=SECONDS)
    except Exception:  # whatever it is, there is no collection
        made = False
    finally:
        await asynchronous.close()
    assert made is abilities.async_create


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("milvus_lite-3.2.2", 0),
        ("v2.3.5-lite", 1),
        ("2.3.21", 1),
        ("v2.4.0", 2),
        ("v2.5.27", 2),
        ("v2.6.16", 3),
        ("3.0", 3),
        ("a build of our own", 3),
    ],
)
def test_servers_are_known_by_what_they_say(said: str, row: int) -> None:
    assert abilities_of(said) is VERSIONS[row]


def test_servers_that_are_too_old_are_refused() -> None:
    with pytest.raises(StartupError, match=r"v2\.2\.16 is too old"):
        abilities_of("v2.2.16")
