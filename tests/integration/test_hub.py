"""One search through other people's models: small ones of the hub's architectures in every stage that takes them."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike import SyncClient, build_product
from lookalike.v1.product_service_pb2 import IMPORT_OUTCOME_CREATED
from lookalike_export.hub import add_parser
from lookalike_export.stages.vocabulary import CATEGORIES
from lookalike_service.embedded.stack import serving
from lookalike_service.wardrobe import make_items, render_item
from support_glue import REPOSITORY
from support_hub import save_encoder, save_parser, save_yolos
from support_models import copy_repository
from support_stack import jpeg

SIZE = 48


def hub(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(["hub", *map(str, arguments)])
    assert options.run(options) == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Embedding version 2 alone, its detector, parser and encoder from the hub; only landmarks are a stand-in."""
    models = copy_repository(REPOSITORY, tmp_path / "model_repository")
    hub("segment", save_parser(tmp_path / "parser"), "--repository", models)
    encoder = save_encoder(tmp_path / "encoder", width=SIZE)
    hub("embed", encoder, "--repository", models, "--version", 2, "--extend")
    hub("detect", save_yolos(tmp_path / "yolos"), "--repository", models)
    for former in ("garments_1", "garments_in_regions_1", "detect", "segment", "embed"):
        shutil.rmtree(models / former)
    return models


@pytest.fixture
def address(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The embedded stack over that repository."""
    monkeypatch.setenv("LOOKALIKE_EMBEDDING_VERSION", "2")
    with serving(tmp_path / "stack", repository=repository, timeout=300) as serving_at:
        yield serving_at


def test_a_search_goes_through_other_peoples_models(address: str) -> None:
    photos = {item.id: jpeg(render_item(item, view=0, size=240).image) for item in make_items(3, seed=2)}
    with SyncClient(address) as client:
        products = [build_product(id, images=[photo]) for id, photo in photos.items()]
        assert [answer.outcome for answer in client.import_products(products)] == [IMPORT_OUTCOME_CREATED] * 3
        for id, photo in photos.items():
            answer = client.search(photo, include_embedding=True)
            assert answer.results
            for result in answer.results:
                vector = result.garment.embedding.values
                assert len(vector) == SIZE and math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)
                assert result.garment.category in {name.split("/")[0] for name in CATEGORIES}
                assert len(result.hits) == 3
            own = [h.score for r in answer.results for h in r.hits if h.product.name.endswith(f"/{id}")]
            assert max(own) > 0.99, "one of the garments of its own photo is what the product was embedded from"
        region = client.search(photo, regions=[(0.1, 0.1, 0.9, 0.9)])
        assert len(region.results) == 1 and region.embedding_version == 2
