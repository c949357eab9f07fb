"""make bench-index and make bench-vectors from end to end on small catalogs, with Milvus Lite as the server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient

from bench.compact_engines import on_server
from bench.compact_kinds import corpus
from bench.figures import INDEX_TARGETS
from bench.index import Bench, measure
from bench.index_plan import Plan
from bench.index_report import drawn, pages
from bench.made_vectors import Mixture, fitted
from bench.own_vectors import OwnVectors
from bench.processes import watching
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from support_engines import lite

DIMENSION = 32


@pytest.fixture(scope="module")
def own() -> OwnVectors:
    """Views of 300 products in clusters."""
    random = np.random.default_rng(5)
    products = random.normal(size=(20, DIMENSION))[random.integers(20, size=300)]
    products += 0.5 * random.normal(size=products.shape)
    views = np.repeat(products, 2, axis=0) + 0.15 * random.normal(size=(600, DIMENSION))
    vectors = (views / np.linalg.norm(views, axis=1, keepdims=True)).astype(np.float32)
    return OwnVectors(vectors, np.repeat(np.arange(300), 2), {"wardrobe": 600})


@pytest.fixture(scope="module")
def mixture(own: OwnVectors) -> Mixture:
    return fitted(own)


async def test_the_whole_bench_on_small_catalogs(mixture: Mixture, tmp_path: Path) -> None:
    with watching(lite(tmp_path)) as (access, family):
        options = MilvusOptions(access.uri, call_seconds=60)
        index = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION)
        client = AsyncMilvusClient(access.uri, timeout=60, dedicated=True)
        queries, _ = mixture.draw(np.random.default_rng(1), 40)
        bench = Bench(access, family, options, index, client, mixture, queries)
        plan = Plan((2000, 4000), rounds=1, seconds=0.3, minutes=5, began=time.monotonic(), pairs=20)
        try:
            figures, content = await measure(bench, plan)
        finally:
            await client.close()
            await index.close()
    assert set(figures) == set(INDEX_TARGETS)
    assert figures["recall_at_10"].reading.value > 0.9
    assert figures["adapter_overhead"].reading.value > 0.8
    assert 0 < figures["visibility_p99_s"].reading.value < 30
    assert [each["rows"] for each in content["sizes"]] == [2000, 4000]
    assert len(content["searches"]) == 6
    assert {code for each in content["searches"] for load in each["callers"].values() for code in load["codes"]} == {
        "OK"
    }
    assert content["upserts"]["products_per_s"] > 0
    json.dumps(content)
    content |= {key: figure.to_json() for key, figure in figures.items()}
    drawn(content, tmp_path / "index.png")
    assert (tmp_path / "index.png").stat().st_size > 1000
    run = {
        "machine": {"cores": 1, "processor": "P", "kernel": "6", "packages": {"pymilvus": "3"}, "load_average": [0]},
        "likeness": {"own": [0, 0], "made": [0, 0]},
        **{"milvus": "Lite", "revision": "", "minutes": 1, "dimension": DIMENSION, "own": "made ones"},
    }
    assert "| 4,000 " in pages({**content, "run": run})


async def test_a_kind_on_a_server_is_measured_with_its_files(own: OwnVectors, mixture: Mixture, tmp_path: Path) -> None:
    rows = corpus(own, mixture, rows=1500, queries=10)
    with lite(tmp_path) as access:
        found = await on_server("Milvus Lite", "HNSW_SQ", access, rows, folder=tmp_path)
    assert found.recall > 0.8
    assert found.bytes_per_vector > DIMENSION
    assert 0 < found.p50_ms <= found.p99_ms
