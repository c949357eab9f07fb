"""The arithmetic of make bench-index and make bench-vectors: made vectors, exact search, recall, budgets, tables."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from bench.compact_engines import in_faiss
from bench.compact_kinds import KINDS, Corpus, Kind, corpus, lists_for, reduced, same_product_first
from bench.compact_report import in_words
from bench.compact_report import page as compact_page
from bench.document import PLACES, ROOT, documented
from bench.document import main as document
from bench.exact import ExactSearch, recall_at
from bench.figures import INDEX_TARGETS, Figure
from bench.index_load import adapter_call, number_of, recall
from bench.index_plan import FALLBACK, Plan, affordable, sizes
from bench.index_report import drawn, pages
from bench.index_sizes import FILTERS
from bench.index_upserts import visibility
from bench.made_vectors import MOST_VIEWS, Mixture, fitted, likeness, made_chunk, made_entries
from bench.own_vectors import OwnVectors
from bench.ratios import Reading
from fakes import MemoryIndex, holds
from lookalike.bench.load import closed_loop
from lookalike_service.filter import parse
from lookalike_service.model import Entry

NUMBERS = 64


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def own() -> OwnVectors:
    """Forty kinds of garment, of which some have many products; a quarter of these have three views."""
    random = np.random.default_rng(5)
    centers, shares = random.normal(size=(40, NUMBERS)), random.dirichlet(np.full(40, 2.0))
    products = centers[random.choice(40, 800, p=shares)] + 0.5 * random.normal(size=(800, NUMBERS))
    views = np.repeat(products[:200], 3, axis=0) + 0.15 * random.normal(size=(600, NUMBERS))
    known, unknown = np.repeat(np.arange(200), 3), np.full(600, -1)
    vectors = unit(np.concatenate([views, products[200:]]))
    return OwnVectors(vectors, np.concatenate([known, unknown]), {"wardrobe": 600, "items": 600})


@pytest.fixture(scope="module")
def mixture(own: OwnVectors) -> Mixture:
    return fitted(own)


def test_exact_search_ranks_products_as_sorting_all_rows_does() -> None:
    random = np.random.default_rng(0)
    rows, queries = unit(random.normal(size=(500, 16))), unit(random.normal(size=(7, 16)))
    products = np.arange(500) // MOST_VIEWS
    search = ExactSearch(queries, limit=10, most_views=MOST_VIEWS)
    for begin in range(0, 500, 90):
        search.add(rows[begin : begin + 90], products[begin : begin + 90])
    search.add(rows[:0], products[:0])
    for query, found in zip(queries, search.products(), strict=True):
        ranked = products[np.argsort(-(rows @ query))]
        assert found == list(dict.fromkeys(ranked.tolist()))[:10]


def test_exact_search_of_fewer_rows_than_wanted_returns_what_there_is() -> None:
    search = ExactSearch(np.eye(2, 4, dtype=np.float32), limit=10, most_views=3)
    assert search.products() == [[], []]
    search.add(np.eye(3, 4, dtype=np.float32), np.array([7, 8, 8]))
    assert search.products() == [[7, 8], [8, 7]]


def test_recall_is_the_share_of_the_exact_answers() -> None:
    assert recall_at([[1, 2, 3, 4]], [[4, 3, 9, 8]]) == 0.5
    assert recall_at([[1, 2], [5]], [[2, 1], [6]]) == 0.5
    # Where a filter leaves three products, three are all that can be found; where it leaves none, nothing can.
    assert recall_at([[1, 2, 3], []], [[1, 2, 3], []]) == 1
    assert np.isnan(recall_at([[]], [[]]))


def test_made_vectors_are_as_near_to_each_other_as_our_own(own: OwnVectors, mixture: Mixture) -> None:
    apart = own.apart()
    assert len(apart) == 800
    made, _ = mixture.draw(np.random.default_rng(9), 800)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    near = likeness(apart, made)
    assert near["made"][1] == pytest.approx(near["own"][1], abs=0.03)
    far = likeness(apart, unit(np.random.default_rng(9).normal(size=(800, NUMBERS))))
    assert abs(far["made"][1] - far["own"][1]) > 0.2


def test_views_of_a_made_product_are_as_near_as_those_of_a_rendered_one(own: OwnVectors, mixture: Mixture) -> None:
    random = np.random.default_rng(1)
    products, _ = mixture.draw(random, 300)
    first, second = mixture.views(random, products), mixture.views(random, products)
    theirs = own.vectors[:600].reshape(200, 3, NUMBERS)
    expected = float(np.median((theirs[:, 0] * theirs[:, 1]).sum(axis=1)))
    assert float(np.median((first * second).sum(axis=1))) == pytest.approx(expected, abs=0.02)


def test_without_views_of_one_product_nothing_can_be_fitted(own: OwnVectors) -> None:
    with pytest.raises(ValueError, match="the wardrobe must be among them"):
        fitted(replace(own, products=np.full(len(own.vectors), -1)))


def test_a_chunk_is_the_same_whenever_it_is_made_and_a_revision_changes_prices_only(mixture: Mixture) -> None:
    [one, other] = list(made_entries(mixture, rows=2500, catalog="shop"))
    assert (len(one), len(other)) == (2000, 500)
    again = made_chunk(mixture, 1, catalog="shop")[:500]
    assert [entry.view.id for entry in again] == [entry.view.id for entry in other]
    assert all(np.array_equal(a.view.embedding, b.view.embedding) for a, b in zip(again, other, strict=True))
    later = made_chunk(mixture, 1, catalog="shop", revision=2)[:500]
    assert all(np.array_equal(a.view.embedding, b.view.embedding) for a, b in zip(again, later, strict=True))
    assert {entry.product.indexed_revision for entry in later} == {2}
    assert [entry.product.price for entry in later] != [entry.product.price for entry in again]
    assert not {entry.view.id for entry in one} & {entry.view.id for entry in other}


def test_filters_pass_what_their_names_say(mixture: Mixture) -> None:
    entries = [entry for chunk in made_entries(mixture, rows=10_000, catalog="shop") for entry in chunk]
    shares = {}
    for name, text in FILTERS.items():
        node = parse(text)
        shares[name] = sum(node is None or holds(node, entry) for entry in entries) / len(entries)
    assert shares == {"none": 1, "28 %": pytest.approx(0.28, abs=0.02), "1 %": pytest.approx(0.01, abs=0.002)}


def test_sizes_are_numbers_that_ascend() -> None:
    assert sizes("10_000,100000") == (10_000, 100_000)
    for wrong, sentence in (("many", "no list of numbers"), ("100000,10000", "sizes ascend"), ("500", "at least")):
        with pytest.raises(argparse.ArgumentTypeError, match=sentence.replace("at least", "the least is 2,000")):
            sizes(wrong)


def test_the_largest_catalog_shrinks_when_time_is_short_and_that_is_said() -> None:
    plan = Plan((10_000, 100_000, 1_000_000), rounds=3, seconds=5, minutes=25, began=time.monotonic())
    assert affordable(1_000_000, plan, [(100_000, 50)]) == (1_000_000, "")
    rows, note = affordable(1_000_000, plan, [(100_000, 120)])
    assert rows == FALLBACK
    assert "300,000 vectors instead of 1,000,000" in note
    assert affordable(300_000, plan, [(100_000, 1e6)]) == (300_000, "")
    late = replace(plan, began=plan.began - 20 * 60)
    assert affordable(1_000_000, late, [(100_000, 30)])[0] == FALLBACK


@pytest.fixture
async def shelf(mixture: Mixture) -> tuple[MemoryIndex, list[Entry]]:
    index, entries = MemoryIndex(), made_chunk(mixture, 0, catalog="shop")
    await index.upsert("shop", entries)
    return index, entries


async def test_what_searches_exactly_has_a_recall_of_one(
    shelf: tuple[MemoryIndex, list[Entry]], mixture: Mixture
) -> None:
    index, entries = shelf
    queries, _ = mixture.draw(np.random.default_rng(3), 5)
    exact = ExactSearch(queries, limit=10, most_views=MOST_VIEWS)
    vectors = np.stack([entry.view.embedding for entry in entries]).astype(np.float32)
    exact.add(vectors, np.array([number_of(entry.product.id) for entry in entries]))
    assert await recall(index, "shop", queries, exact.products()) == 1
    cheap = await recall(index, "shop", queries, exact.products(), filter=parse("price < 10000"))
    assert cheap < 0.8
    run = await closed_loop(adapter_call(index, "shop", queries), callers=2, seconds=0.1, warmup=0)
    assert run.garments == 10 * run.requests > 0


async def test_what_is_written_is_visible_once_a_search_finds_it(mixture: Mixture) -> None:
    index = MemoryIndex()
    seconds = await visibility(index, mixture, catalog="shop", seconds=0.1, first=0)
    assert len(seconds) == index.upserted > 0
    assert all(0 <= each < 1 for each in seconds)


class Forgetful(MemoryIndex):
    """Acknowledges what it then does not have."""

    async def upsert(self, catalog: str, entries: Any, *, timeout: float | None = None) -> None:  # noqa: ANN401
        await asyncio.sleep(0)


async def test_what_is_never_found_is_said(mixture: Mixture) -> None:
    with pytest.raises(TimeoutError, match=r"what was written to shop is not found after 0\.05 s"):
        await visibility(Forgetful(), mixture, catalog="shop", seconds=0.1, first=0, patience=0.05)


def index_content() -> dict[str, Any]:
    figures = {key: Figure(key, Reading((1.0, 1.1))).to_json() for key in INDEX_TARGETS}
    load = {"p50_ms": 4.0, "p95_ms": 9.5, "p99_ms": 120.0, "searches_per_s": 200.4}
    return {
        **json.loads(json.dumps(figures)),
        "sizes": [
            {"rows": rows, "written_by": "upsert", "rows_per_s": 5000.0, "index_s": 6.4, "milvus_mib": 1234.5}
            for rows in (10_000, 10**6)
        ],
        "searches": [
            {"rows": rows, "filter": name, "recall_at_10": 0.98765, "callers": {"1": load, "16": load}}
            for rows in (10_000, 10**6)
            for name in FILTERS
        ],
        "overheads": {str(rows): {"adapter_ms": 4.4, "bare_ms": 4.0} for rows in (10_000, 10**6)},
        "upserts": {
            "searches_per_s": 50.0,
            "products_per_s": 499.8,
            "p50_ms": {"idle": [4.0, 5.0], "upserts": [6.0]},
            "p99_ms": {"idle": [9.0], "upserts": [18.0]},
            "visible_s": {name: {"p50": 0.2, "p99": 0.4} for name in ("idle", "upserts")},
        },
        "run": {
            "machine": MACHINE,
            "likeness": {"own": [0.8, 0.59], "made": [0.7, 0.58]},
            "milvus": "2.3.5",
            "revision": "abc",
            "minutes": 21.4,
            "dimension": 256,
            "own": "1,800 rendered garments",
            "note": "The largest catalog has fewer.",
        },
    }


MACHINE = {
    "cores": 2,
    "processor": "P",
    "kernel": "6.1-x",
    "load_average": [0.2, 0, 0],
    "packages": {"pymilvus": "3.0.2", "faiss-cpu": "1.15"},
}


def test_the_tables_say_what_was_measured_where() -> None:
    text = pages(index_content())
    assert "| `adapter_overhead` " in text
    assert "| 1,000,000 | 1 %           | 0.988     | 4.0 / 9.5 / 120, 200" in text
    assert "4.4 / 4.0" in text
    assert "beside 500 products/s | 6.0    | 18.0   | 0.20 / 0.40" in text
    assert text.endswith("is 0.58 where our own have 0.59. The largest catalog has fewer.")


def test_latency_is_drawn_against_the_size(tmp_path: Path) -> None:
    drawn(index_content(), tmp_path / "index.png")
    assert cv2.imread(str(tmp_path / "index.png")).shape[:2] == (480, 768)


@pytest.fixture(scope="module")
def shop(own: OwnVectors, mixture: Mixture) -> Corpus:
    return corpus(own, mixture, rows=2000, queries=30)


def test_a_corpus_has_own_rows_first_and_never_a_query(own: OwnVectors, shop: Corpus) -> None:
    assert (shop.rows.shape, shop.queries.shape) == ((2000, NUMBERS), (30, NUMBERS))
    assert float((shop.rows[: len(own.vectors) - 30] @ shop.queries.T).max()) < 0.9999
    scores = shop.queries @ shop.rows.T
    assert shop.exact == [np.argsort(-row)[:10].tolist() for row in scores]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.numbers == "256"], ids=lambda kind: kind.name)
def test_every_kind_is_built_measured_and_finds_most(kind: Kind, own: OwnVectors, shop: Corpus) -> None:
    found = in_faiss(kind, shop, own.vectors)
    coarse = kind.name == "IVF_RABITQ"
    assert found.recall > (0.4 if coarse else 0.85)
    assert found.recall == 1 or kind.name not in ("FLAT", "HNSW")
    whole = 4 * NUMBERS
    least, most = {"IVF_RABITQ": (NUMBERS / 8, whole / 2), "FLAT": (whole, whole + 1)}.get(
        kind.name, (NUMBERS, 2 * whole)
    )
    assert least <= found.bytes_per_vector <= most
    assert 0 < found.p50_ms <= found.p99_ms


def test_quantizing_saves_the_bytes_it_promises(own: OwnVectors, shop: Corpus) -> None:
    sizes_of = {kind.name: in_faiss(kind, shop, own.vectors).bytes_per_vector for kind in KINDS[1:4]}
    assert sizes_of["HNSW"] - sizes_of["HNSW, fp16 vectors"] == pytest.approx(2 * NUMBERS, abs=1)
    assert sizes_of["HNSW"] - sizes_of["HNSW_SQ"] == pytest.approx(3 * NUMBERS, abs=1)


def test_fewer_numbers_keep_unit_length_and_pca_keeps_more_than_cutting_off(own: OwnVectors) -> None:
    wide = np.concatenate([own.vectors, 0.01 * own.vectors, np.zeros((len(own.vectors), 128), np.float32)], axis=1)
    wide = unit(wide[:, ::-1])
    scores = wide @ wide.T
    for numbers, most in (("128 (PCA)", 1e-4), ("256", 1e-6)):
        kept = reduced(wide, numbers, fitted_to=wide)
        assert np.linalg.norm(kept, axis=1) == pytest.approx(1, abs=1e-5)
        assert float(np.abs(kept @ kept.T - scores).max()) < most
    assert float(np.abs(reduced(wide, "128 (first)", fitted_to=wide)).max()) == 0
    assert same_product_first(own, "256") > 0.9


def test_lists_follow_the_root_of_the_rows() -> None:
    assert [lists_for(rows) for rows in (1000, 10_000, 100_000, 10**6)] == [16, 256, 1024, 4096]


def test_compact_tables_compute_what_catalogs_take() -> None:
    kind = {
        "engine": "faiss", "name": "HNSW", "numbers": "256", "rows": 100_000, "bytes_per_vector": 1170.4,
        "recall": 0.991, "recall_own": 0.999, "p50_ms": 0.21, "p99_ms": 0.4,
    }  # fmt: skip
    served = {**kind, "engine": "Milvus Lite 3.2", "bytes_per_vector": 0}
    del served["recall_own"]
    run = {"machine": MACHINE, "revision": "abc", "minutes": 9.0, "queries": 300}
    same = {"256": 0.99, "128 (PCA)": 0.98}
    text = compact_page(
        {"kinds": [kind, served], "same_product_first": same, "own": "1 garment", "rows_own": 900, "run": run}
    )
    assert "| HNSW  | 256     | faiss           | 100,000 | 1,170      | 0.991     | 0.999" in text
    assert "no meter" in text
    assert text.count("| 117 MB | 12 GB | 1.2 TB |") == 1
    assert [in_words(size) for size in (2e5, 5.5e9, 2e12)] == ["0.2 MB", "5.5 GB", "2.0 TB"]


def test_every_place_for_figures_is_there() -> None:
    for place in PLACES.values():
        page = (ROOT / "docs" / place.page).read_text()
        assert documented(page, "x", begin=place.begin) != page


def test_figures_go_to_their_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, docs = tmp_path / "build", tmp_path / "docs"
    (docs / "pictures").mkdir(parents=True)
    build.mkdir()
    assert document(["--build", str(build), "--docs", str(docs)]) == 1
    assert "make bench, bench-index and bench-vectors write them" in capsys.readouterr().err
    (build / "bench_index.json").write_text(json.dumps(index_content()))
    (build / "bench_index.png").write_bytes(b"png")
    page = docs / "benchmarks.md"
    page.write_text("no markers")
    assert document(["--build", str(build), "--docs", str(docs)]) == 1
    assert "the page lacks the lines" in capsys.readouterr().err
    page.write_text(f"a\n{PLACES['bench_index.json'].begin}\nold\n<!-- until here -->\nz\n")
    assert document(["--build", str(build), "--docs", str(docs)]) == 0
    assert "`adapter_overhead`" in page.read_text()
    assert "](pictures/index.png)" in page.read_text()
    assert "old" not in page.read_text()
    assert (docs / "pictures" / "index.png").read_bytes() == b"png"
