"""The rivals of the benchmark do the same work as we do: the same garments, the same nearest products."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bench import rival_fastapi, rival_litserve, rival_sweep
from bench.rival_http import Caller, Response
from bench.rival_pipeline import Looker, Searcher
from bench.rival_shelf import Shelf, write_rows
from lookalike.bench.load import Answer
from lookalike_service.model import Garment, Vocabularies
from lookalike_service.triton_answers import read_garments
from lookalike_service.wardrobe import choose_outfit, make_items, render_outfit
from support_direct import DirectPipeline
from support_glue import REPOSITORY

# Two runs of one graph differ in the last bits when their batches differ.
TOLERANCE = 2e-3
MOST_WAITING = 4
STARTERS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "fastapi": lambda directory: rival_fastapi.start(directory, threads=1, batch=4, most_waiting=MOST_WAITING),
    "litserve": lambda directory: rival_litserve.start(directory, workers=1, batch=4, most_waiting=MOST_WAITING),
}


def outfit(seed: int) -> bytes:
    photo = render_outfit(choose_outfit(make_items(24, seed=5), seed=seed), seed=seed)
    buffer = io.BytesIO()
    Image.fromarray(photo.image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return [outfit(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def garments(photos: list[bytes]) -> list[tuple[Garment, ...]]:
    """What the direct pipeline says of each photo."""
    pipeline = DirectPipeline(REPOSITORY)
    labels = [REPOSITORY / "embed" / "labels" / f"{name}.txt" for name in ("category", "pattern", "material", "colour")]
    vocabularies = Vocabularies(*(tuple(path.read_text().split()) for path in labels))
    detected = (REPOSITORY / "detect" / "labels" / "garment.txt").read_text().split()
    return [read_garments(pipeline.find(photo), vocabularies=vocabularies, detected=detected) for photo in photos]


@pytest.fixture(scope="module")
def rows(garments: list[tuple[Garment, ...]]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Vectors and their products: around each garment twelve products of three views, ever less alike."""
    random = np.random.default_rng(7)
    vectors, products = [random.normal(size=(300, 256))], [np.arange(300)]
    for garment in (garment for each in garments for garment in each):
        unlike = random.normal(size=(12, 256)) / 16 * np.linspace(0.1, 1.2, 12)[:, None]
        # Views differ by less than the tolerance: the index is approximate and may miss one of them.
        vectors.append(garment.embedding + unlike.repeat(3, axis=0) + random.normal(size=(36, 256)) * 1e-4)
        products.append(np.arange(12).repeat(3) + int(products[-1][-1]) + 1)
    stacked = np.concatenate(vectors)
    return (stacked / np.linalg.norm(stacked, axis=1, keepdims=True)).astype(np.float32), np.concatenate(products)


@pytest.fixture(scope="module")
def directory(
    rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("rival")
    vectors, products = rows
    count = int(products.max()) + 1
    titles, prices = [f"Product {n}" for n in range(count)], [100 * n for n in range(count)]
    write_rows(directory, vectors=vectors, products=products, titles=titles, prices=prices)
    return directory


@pytest.fixture(scope="module", params=sorted(STARTERS))
def url(request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    with STARTERS[request.param](directory) as address:
        yield address


def posted(url: str, photos: Sequence[bytes], *, count: int, deadline: float | None = None) -> list[Response]:
    """The responses to so many requests sent at the same moment, photos in turn."""

    async def run() -> list[Response]:
        caller = Caller(url, photos, deadline=deadline)
        try:
            return await asyncio.gather(*(caller.post(n) for n in range(count)))
        finally:
            caller.close()

    return asyncio.run(run())


def nearest(garment: Garment, rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]) -> list[tuple[int, float]]:
    """The ten best products by exhaustive search, with their scores."""
    vectors, products = rows
    best = np.full(products.max() + 1, -1.0, np.float32)
    np.maximum.at(best, products, vectors @ garment.embedding)
    return [(int(n), float(best[n])) for n in np.argsort(-best)[:10]]


def test_says_what_the_direct_pipeline_says(
    url: str,
    photos: list[bytes],
    garments: list[tuple[Garment, ...]],
    rows: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]],
) -> None:
    # One alone, then all at once, which the batch of four takes together.
    for response, expected in zip(
        posted(url, photos, count=1) + posted(url, photos, count=3), [garments[0], *garments], strict=True
    ):
        assert response.status == 200
        answers: list[dict[str, Any]] = json.loads(response.body)["garments"]
        assert response.garments == len(answers) == len(expected) > 0
        for answer, garment in zip(answers, expected, strict=True):
            box = garment.box
            assert answer["box"] == pytest.approx([box.x0, box.y0, box.x1, box.y1], abs=0.02)
            assert answer["category"] == garment.category
            assert answer["colors"] == pytest.approx({c.name: c.score for c in garment.colours}, abs=0.02)
            assert next(iter(answer["patterns"])) == garment.patterns[0].name
            assert next(iter(answer["materials"])) == garment.materials[0].name
            wanted = nearest(garment, rows)
            assert [hit["product"] for hit in answer["products"]] == [product for product, _ in wanted]
            assert [hit["score"] for hit in answer["products"]] == pytest.approx([s for _, s in wanted], abs=TOLERANCE)
            assert answer["products"][0]["title"] == f"Product {wanted[0][0]}"
            assert answer["products"][0]["price"] == 100 * wanted[0][0]


def test_a_broken_photo_fails_alone(url: str, photos: list[bytes]) -> None:
    assert [each.status for each in posted(url, [photos[0], b"no image", photos[1]], count=3)] == [200, 400, 200]


def test_refuses_at_once_when_too_many_wait(url: str, photos: list[bytes]) -> None:
    statuses = [response.status for response in posted(url, photos, count=30)]
    assert set(statuses) == {200, 503}
    assert statuses.count(503) >= 30 - 4 * MOST_WAITING


def test_drops_what_has_waited_beyond_its_deadline(url: str, photos: list[bytes]) -> None:
    assert {response.status for response in posted(url, photos, count=2, deadline=0.0)} == {504}
    assert {response.status for response in posted(url, photos, count=2, deadline=60.0)} == {200}


def test_its_answers_count_in_the_load_engine(url: str, photos: list[bytes]) -> None:
    async def run() -> list[Answer]:
        good, late = Caller(url, photos), Caller(url, photos, deadline=0.0)
        try:
            return [await good(4), await late(0)]
        finally:
            good.close()
            late.close()

    good, late = asyncio.run(run())
    assert (good.code, late.code, late.garments) == ("OK", "HTTP 504", 0)
    assert good.garments > 0


def test_looks_wider_when_one_product_has_many_views(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(220, 256))
    vectors[:200] = vectors[0] + random.normal(size=(200, 256)) * 0.01
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = np.concatenate([np.zeros(200, np.int64), np.arange(1, 21)])
    write_rows(
        tmp_path,
        vectors=vectors.astype(np.float32),
        products=products,
        titles=[str(n) for n in range(21)],
        prices=[0] * 21,
    )
    [found] = Shelf(tmp_path).nearest(vectors[:1].astype(np.float32))
    assert found[0]["product"] == 0
    assert len({hit["product"] for hit in found}) == len(found) == 10


def test_a_shop_that_does_not_fit_itself_is_refused(tmp_path: Path) -> None:
    unit = np.eye(3, 256, dtype=np.float32)
    with pytest.raises(ValueError, match="unit length"):
        write_rows(tmp_path, vectors=2 * unit, products=np.arange(3), titles=["a", "b", "c"], prices=[1, 2, 3])
    with pytest.raises(ValueError, match="below 2"):
        write_rows(tmp_path, vectors=unit, products=np.arange(3), titles=["a", "b"], prices=[1, 2])


def test_a_search_without_photos_answers_nothing(directory: Path) -> None:
    assert Searcher(Looker(intra_op=1, spinning=False), Shelf(directory)).search([]) == []


def swept(throughput: float, p99: float, **codes: int) -> dict[str, Any]:
    return {"throughput": throughput, "p99": p99, "codes": codes}


def test_the_sweep_takes_the_calmest_of_the_fastest() -> None:
    points = {
        "fast": swept(10.0, 300, OK=9),
        "as fast, calmer": swept(9.8, 200, OK=9),
        "calm, slower": swept(9.0, 100, OK=9),
        "with errors": swept(20.0, 50, OK=9, TimeoutError=1),
    }
    assert rival_sweep.best(points) == "as fast, calmer"
    with pytest.raises(SystemExit, match="TimeoutError"):
        rival_sweep.best({"with errors": points["with errors"]})


def test_what_is_tried_follows_the_cores() -> None:
    for cores in (2, 8):
        tried = rival_sweep.choices(cores)
        assert {"processes": cores, "threads": 1, "intra_op": 1} in tried["fastapi"].values()
        assert {options["batch"] for options in tried["litserve"].values() if "batch" in options} == {1, 4, 8}
        assert {options["workers"] for options in tried["litserve"].values()} == {1, cores}
