"""What reranking by colours and pattern does on the rendered wardrobe:

    PYTHONPATH=tests python tests/bench/reranking.py [--items 270]

A studio photo of every item is the catalog, another view of some of them the query; the same models and the same
rules as in a search, without servers. The item itself does not count. Printed per pair of weights: the share of the top
10 that has the query's main colour (of the item as it was drawn), the share with its pattern, and how many of the first
five are of its category.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from lookalike_service.garments import chosen, coarse, looks
from lookalike_service.model import Garment, Looks, Vocabularies
from lookalike_service.ranking import agreement
from lookalike_service.triton_answers import read_garments
from lookalike_service.wardrobe import Item, make_items, render_item
from support_direct import DirectPipeline

ROOT = Path(__file__).parents[2]
WINDOW, WEIGHTS = 100, ((0, 0), (0.1, 0), (0.2, 0), (0.3, 0), (0.3, 0.05), (0.3, 0.1), (0.5, 0), (1, 0), (1, 1))


@dataclass(frozen=True)
class Seen:
    """An item with what the models say of one photo of it."""

    item: Item
    garment: Garment
    looks: Looks


def vocabularies() -> Vocabularies:
    """As the gateway reads them from the ensemble's configuration."""
    path = ROOT / "model_repository" / "garments_1" / "config.pbtxt"
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())

    def words(name: str) -> tuple[str, ...]:
        value = config.parameters[f"{name}_labels"].string_value
        return tuple(word.strip() for word in value.split(",") if word.strip())

    return Vocabularies(words("category"), words("pattern"), words("material"), words("colour"))


def seen(pipeline: DirectPipeline, words: Vocabularies, item: Item, view: int) -> Seen:
    """The item as the models see it on a photo of that view, chosen as for a product without a hint."""
    photo = render_item(item, view=view, size=360).image
    encoded = cv2.imencode(".jpg", photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    garments = read_garments(pipeline.find(encoded), vocabularies=words, detected=())
    garment = chosen(garments, None, item.category)
    return Seen(item, garment, looks(garment))


def figures(shelf: list[Seen], queries: list[Seen], color: float, pattern: float) -> list[float]:
    """Main colour@10, pattern@10, category@5."""
    matrix = np.stack([each.garment.embedding for each in shelf])
    shares = []
    for query in queries:
        scores = matrix @ query.garment.embedding
        near = [n for n in np.argsort(-scores) if shelf[n].item.id != query.item.id][:WINDOW]

        def value(n: int, query: Seen = query, scores: npt.NDArray[np.float32] = scores) -> float:
            if shelf[n].item.category != coarse(query.garment.category):
                return float(-scores[n])
            colors, patterns = agreement(query.looks, shelf[n].looks)
            return float(-(scores[n] + color * colors + pattern * patterns))

        top = [shelf[n].item for n in sorted(near, key=value)][:10]
        shares.append((
            np.mean([item.colours[0] == query.item.colours[0] for item in top]),
            np.mean([item.pattern == query.item.pattern for item in top]),
            np.mean([item.category == query.item.category for item in top[:5]]),
        ))  # fmt: skip
    return [float(each) for each in np.mean(shares, axis=0)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=270)
    parser.add_argument("--queries", type=int, default=90)
    options = parser.parse_args()
    pipeline, words = DirectPipeline(ROOT / "model_repository"), vocabularies()
    items = make_items(options.items)
    shelf = [seen(pipeline, words, item, 0) for item in items]
    step = max(1, len(items) // options.queries)
    queries = [seen(pipeline, words, item, 2) for item in items[::step]]
    print(f"{len(shelf)} products, {len(queries)} queries, reranked among {WINDOW}")
    print("| color_weight | pattern_weight | main color@10 | pattern@10 | category@5 |")
    print("| --- | --- | --- | --- | --- |")
    for color, pattern in WEIGHTS:
        found = " | ".join(f"{figure:.3f}" for figure in figures(shelf, queries, color, pattern))
        print(f"| {color} | {pattern} | {found} |")


if __name__ == "__main__":
    main()
