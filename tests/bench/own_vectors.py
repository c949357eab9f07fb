"""Our own embeddings: photos of the data folder and rendered garments, through the served models, and kept.

    PYTHONPATH=tests python -m bench.own_vectors [--data ../shared/data] [--part wardrobe]

Embedding takes minutes on two cores, so each part is written to build/cache and read from there, as long as the models
are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.reranking import vocabularies
from bench.servers import say
from lookalike_service.garments import chosen
from lookalike_service.triton_answers import read_garments
from lookalike_service.wardrobe import make_items, render_item
from support_direct import DirectPipeline
from support_glue import REPOSITORY
from support_stack import jpeg

__all__ = ["PARTS", "OwnVectors", "own_vectors"]

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / "build" / "cache"
ITEMS, VIEWS, SIDE = 600, 3, 360
# Of the photos every second and every third: all of them would take seven minutes.
EVERY: Final = {"items": 2, "street": 3}
AT_ONCE: Final = 32


class _Shown(NamedTuple):
    """A photo, which product it shows (-1: nobody knows) and the category that the product has, if any."""

    photo: bytes
    product: int
    category: str


@dataclass(frozen=True, slots=True)
class OwnVectors:
    """`vectors` (n, d) float32 of unit length; `products` (n,) int64 are equal for views of one product, -1 unknown."""

    vectors: npt.NDArray[np.float32]
    products: npt.NDArray[np.int64]
    sources: dict[str, int]
    """How many come from which part."""

    def apart(self) -> npt.NDArray[np.float32]:
        """One view of each product."""
        first = np.unique(self.products, return_index=True)[1]
        kept = self.products < 0
        kept[first] = True
        return self.vectors[kept]

    def words(self) -> str:
        """Where they come from, for a table."""
        return ", ".join(f"{count:,} {WORDS[part]}" for part, count in self.sources.items())


def own_vectors(data: Path, *, repository: Path = REPOSITORY) -> OwnVectors:
    """All parts that there are; what is not in the cache is embedded first. Blocks for minutes then."""
    parts = {name: _part(name, data, repository) for name in PARTS}
    there = {name: part for name, part in parts.items() if len(part[0])}
    return OwnVectors(
        np.concatenate([vectors for vectors, _ in there.values()]),
        np.concatenate([products for _, products in there.values()]),
        {name: len(vectors) for name, (vectors, _) in there.items()},
    )


def _part(name: str, data: Path, repository: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    shown = PARTS[name](data)
    first = next(shown, None)
    if first is None:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
    path = CACHE / f"vectors-{name}-{_models(repository)}.npz"
    if not path.exists():
        say(f"embedding the {WORDS[name]} (minutes, once)")
        vectors, products = _embedded(first, shown, repository, one=name != "street")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".partial.npz")
        np.savez(part, vectors=vectors.astype(np.float16), products=products)
        part.rename(path)
    with np.load(path) as kept:
        found = kept["vectors"].astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True), kept["products"]


def _models(repository: Path) -> str:
    """What changes whenever a vector might."""
    digest = hashlib.sha256()
    for path in sorted(repository.rglob("*")):
        if path.suffix in (".onnx", ".pbtxt", ".py") and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _embedded(
    first: _Shown, rest: Iterator[_Shown], repository: Path, *, one: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The served graphs and glue, a photo at a time in each thread; tests hold Triton to the same answers."""
    words, own = vocabularies(), threading.local()

    def look(shown: _Shown) -> list[npt.NDArray[np.float32]]:
        if not hasattr(own, "pipeline"):
            own.pipeline = DirectPipeline(repository)
        garments = read_garments(own.pipeline.find(shown.photo), vocabularies=words, detected=())
        return [each.embedding for each in ([chosen(garments, None, shown.category)] if one else garments)]

    vectors: list[npt.NDArray[np.float32]] = []
    products: list[int] = []
    photos = itertools.chain([first], rest)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        # Some at a time, so that few photos are in memory.
        while batch := list(itertools.islice(photos, AT_ONCE)):
            for shown, found in zip(batch, threads.map(look, batch), strict=True):
                vectors += found
                products += [shown.product] * len(found)
    return np.stack(vectors), np.array(products, np.int64)


def _wardrobe(data: Path) -> Iterator[_Shown]:
    """Drawn garments, several views of each; no data folder is needed."""
    for number, item in enumerate(make_items(ITEMS, seed=3)):
        for view in range(VIEWS):
            yield _Shown(jpeg(render_item(item, view=view, size=SIDE).image), number, item.category)


def _photos(data: Path, kind: str) -> Iterator[_Shown]:
    for path in sorted((data / kind).glob("*/images/*.jpg"))[:: EVERY[kind]]:
        yield _Shown(path.read_bytes(), -1, "")


PARTS: Final[dict[str, Callable[[Path], Iterator[_Shown]]]] = {
    "wardrobe": _wardrobe,
    "items": partial(_photos, kind="items"),
    "street": partial(_photos, kind="street"),
}
"""Rendered garments; home photos with one garment each; street photos with all their garments."""
WORDS: Final = {"wardrobe": "rendered garments", "items": "garments at home", "street": "garments on the street"}


def main() -> None:
    """Embed one part, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--part", choices=sorted(PARTS))
    options = parser.parse_args()
    for name in [options.part] if options.part else PARTS:
        vectors, _ = _part(name, options.data, REPOSITORY)
        print(f"{name}: {len(vectors)} vectors")


if __name__ == "__main__":
    main()
