"""How many of the pictures that a shop has changed `lookalike duplicates` finds, what it takes for one, and how long:

    PYTHONPATH=tests python -m bench.duplicates [--data ../shared/data] [--photos 300] [--products 100000]

First a catalog of photographs: rendered items, of which three of a family differ in nothing but colour or pattern, and
the home photos of the data folder where it is there. Every second one has a changed copy under another product. Then
the same fingerprints among so many others that the catalog has `--products`: their key points are those of the photos,
shuffled and disturbed. Writes build/bench_duplicates.json and a picture of what was taken for a double wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import numpy.typing as npt

from bench.machine import machine, revision
from lookalike_service.duplicates import DuplicateFinder, Link, Notebook, Report
from lookalike_service.duplicates.fingerprints import Fingerprint, fingerprint, packed, unpacked
from lookalike_service.duplicates.notebook import Photo
from lookalike_service.duplicates.progress import batches
from lookalike_service.images import Images
from lookalike_service.model import Box, Product, View
from lookalike_service.ports import Store
from lookalike_service.wardrobe import make_items, render_item
from support_duplicates import box_after, changed, some_change
from support_stack import jpeg

ROOT: Final = Path(__file__).parents[2]
ITEMS: Final = Path("items", "public_test", "images")
WHOLE: Final = Box(0, 0, 1, 1)
CATALOG: Final = "default"
# Found by looking: a photograph that the data folder has under two names.
TWICE: Final = {"195de33e-ed94-4729-b254-b351aafbfca8": "09b36693-00d5-403b-b706-c18d9d10cb52"}
# Of the bits of a code, and of the key points of the photo that another one is made after.
DISTURBED, KEPT = 0.1, 0.05


@dataclass
class Shelf:
    """Products in memory, as the finder reads them from the catalog of record."""

    products: list[Product] = field(default_factory=list)

    def add(self, id: str, photo: str, box: Box) -> None:
        """One product with one photo."""
        view = View(f"{id}/1", photo, box, "top", (), "", 1, np.zeros(1, np.float16))
        self.products.append(Product(CATALOG, id, views=(view,)))

    async def page(self, catalog: str, *, after: str = "", limit: int = 50, **_: object) -> list[Product]:
        """As a Store does; `after` is one of these ids."""
        begin = 1 + int(after.rpartition("#")[2]) if after else 0
        return self.products[begin : begin + limit]


@dataclass(frozen=True)
class Doubled:
    """A picture, RGB, with where its garment is, and whether a changed copy is in the catalog.

    Pictures of one `look` are the same without our having copied them, and count neither way.
    """

    source: str
    look: str
    pixels: npt.NDArray[np.uint8]
    box: Box
    copied: bool


def pictures(data: Path, photos: int, seed: int) -> Iterator[Doubled]:
    """So many rendered ones, and as many photographs if they are there; others for each seed while there are any."""
    for number, item in enumerate(make_items(photos, seed=21 + seed)):
        shot = render_item(item, view=number % 2, size=480)
        yield Doubled("rendered", item.id, shot.image, Box(*shot.garments[0].box), number % 2 == 0)
    for number, path in enumerate(sorted((data / ITEMS).glob("*.jpg"))[seed * photos :][:photos]):
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        look = TWICE.get(path.stem, path.stem)
        yield Doubled("photographs", look, np.asarray(pixels, np.uint8), WHOLE, number % 2 == 0)


@dataclass
class Pace:
    """Seconds by the clock and of the processors."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def paced() -> Iterator[Pace]:
    """Fills in what the `with` block took."""
    pace, wall, cpu = Pace(), time.perf_counter(), time.process_time()
    yield pace
    pace.wall_s, pace.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


@dataclass
class Truth:
    """Where the pairs of products that must be found come from, and how each product looks."""

    pairs: dict[frozenset[str], str] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)


async def stocked(data: Path, photos: int, images: Images, *, seed: int) -> tuple[Shelf, Truth]:
    """The catalog, and what is true of it."""
    shelf, truth = Shelf(), Truth()
    for number, each in enumerate(pictures(data, photos, seed)):
        one = f"p#{len(shelf.products)}"
        shelf.add(one, await images.put(jpeg(each.pixels)), each.box)
        truth.looks[one] = each.look
        if each.copied:
            change = some_change(number + seed * 100_000)
            other = f"copy#{len(shelf.products)}"
            shelf.add(other, await images.put(changed(each.pixels, change)), box_after(each.box, change))
            truth.looks[other] = each.look
            truth.pairs[frozenset((one, other))] = each.source
    return shelf, truth


async def found(shelf: Shelf, images: Images, memory: Path) -> Report:
    """A run of the finder."""
    notebook = Notebook(memory)
    try:
        return await DuplicateFinder(store=cast(Store, shelf), images=images, notebook=notebook).find(CATALOG)
    finally:
        notebook.close()


def judged(report: Report, truth: Truth) -> tuple[dict[str, Any], list[Link]]:
    """Precision and recall over pairs of products, and the links that are wrong."""
    links = {frozenset((link.product, link.other_product)): link for group in report.groups for link in group.links}
    pairs = truth.pairs
    right = [pair for pair in pairs if pair in links]
    others = [link for pair, link in links.items() if pair not in pairs]
    # Fingerprints of photos that never were share miniatures by the hundred: of these nobody can say what is right.
    real = [link for link in others if {link.product, link.other_product} <= truth.looks.keys()]
    wrong = [link for link in real if truth.looks[link.product] != truth.looks[link.other_product]]
    figures = {
        "made_pairs": len(pairs),
        "found_pairs": len(links) - (len(others) - len(real)),
        "with_made_fingerprints": len(others) - len(real),
        "twice_in_the_data": len(real) - len(wrong),
        "precision": len(right) / max(len(right) + len(wrong), 1),
        "recall": len(right) / len(pairs),
    }
    for source in dict.fromkeys(pairs.values()):
        figures[f"recall_{source}"] = sum(pairs[pair] == source for pair in right) / list(pairs.values()).count(source)
    return figures, wrong


def disturbed(seen: Sequence[Fingerprint], count: int) -> Iterator[bytes]:
    """Fingerprints of photos that never were: miniature and a few key points of one, all others of all."""
    random = np.random.default_rng(0)
    codes = np.concatenate([each.codes for each in seen])
    for number in range(count):
        like = seen[number % len(seen)]
        mine = codes[random.integers(0, len(codes), len(like.codes))]
        kept = random.random(len(mine)) < KEPT
        mine[kept] = like.codes[kept]
        flipped = np.packbits(random.random((len(mine), mine.shape[1] * 8)) < DISTURBED, axis=1)
        points = np.where(kept[:, None], like.points, random.uniform(0, 128, like.points.shape)).astype(np.float32)
        yield packed(Fingerprint(like.miniature, points, mine ^ flipped))


def crowd(shelf: Shelf, known: Path, memory: Path, products: int) -> None:
    """Fill the catalog up to so many products, whose photos have all been looked at, and compared with none."""
    notebook = Notebook(known)
    notebook.show(
        Photo(view.image_sha256, product.id, view.box) for product in shelf.products for view in product.views
    )
    contents = list(notebook.fingerprints())
    notebook.close()
    notebook = Notebook(memory)
    notebook.add_fingerprints(contents)
    others = disturbed([unpacked(content) for _, content in contents], products - len(shelf.products))
    for batch in batches(others, 2000):
        rows = []
        for content in batch:
            number = len(shelf.products)
            rows.append((hashlib.sha256(str(number).encode()).hexdigest(), content))
            shelf.add(f"other#{number}", rows[-1][0], WHOLE)
        notebook.add_fingerprints(rows)
    notebook.close()


def looked(shelf: Shelf, images: Path) -> dict[str, float]:
    """What looking at a photo takes, from its bytes in memory."""
    names = [product.views[0].image_sha256 for product in shelf.products[:400]]
    contents = [(images / name[:2] / name[2:4] / name).read_bytes() for name in names]
    cv2.setNumThreads(1)
    with paced() as pace, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(fingerprint, contents))
    return {"photos_per_s": len(contents) / pace.wall_s, "cpu_ms": pace.cpu_s / len(contents) * 1000}


def sheet(wrong: Sequence[Link], images: Path) -> npt.NDArray[np.uint8]:
    """The photos of wrong links side by side, BGR, two pairs a row."""
    cells = []
    for link in wrong[:24]:
        pair = []
        for photo in (link.photo, link.other_photo):
            pixels = cv2.imread(str(images / photo[:2] / photo[2:4] / photo))
            scale = 240 / max(pixels.shape[:2])
            small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            down, right = 240 - small.shape[0], 250 - small.shape[1]
            pair.append(cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
        cells.append(np.hstack(pair))
    cells += [np.full_like(cells[0], 255)] * (len(cells) % 2)
    return np.vstack([np.hstack(cells[number : number + 2]) for number in range(0, len(cells), 2)])


async def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both runs."""
    images = Images(f"file://{folder}/images")
    shelf, truth = await stocked(options.data, options.photos, images, seed=options.seed)
    with paced() as small:
        report = await found(shelf, images, folder / "memory.db")
    figures, wrong = judged(report, truth)
    if wrong:
        cv2.imwrite(str(options.picture), sheet(wrong, folder / "images"))
    print(f"{report.sentence()}\n{json.dumps(figures, indent=2)}", file=sys.stderr)
    photographs = report.photos
    result: dict[str, Any] = {
        **figures,
        "photos": photographs,
        "wrong": [f"{link.product} {link.other_product} {link.different:.3f}" for link in wrong],
        **vars(small),
        "memory_bytes_per_photo": (folder / "memory.db").stat().st_size / photographs,
        "fingerprints": looked(shelf, folder / "images"),
    }
    if options.products > len(shelf.products):
        crowd(shelf, folder / "memory.db", folder / "large.db", options.products)
        with paced() as large:
            report = await found(shelf, images, folder / "large.db")
        figures, _ = judged(report, truth)
        result["among_many"] = {"products": report.products, **figures, **vars(large)}
    return result


def main() -> int:
    """1 when fewer than 95 % are right or found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--photos", type=int, default=300, help="of each kind; every second one is copied")
    parser.add_argument("--seed", type=int, default=1, help="0 is what the thresholds were chosen with (1)")
    parser.add_argument("--products", type=int, default=100_000, help="of the larger catalog; 0 leaves it out")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_duplicates.json")
    options = parser.parse_args()
    options.picture = options.output.with_suffix(".png")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measured(options, Path(folder)))
    result |= {"machine": machine(), "revision": revision()}
    options.output.write_text(json.dumps(result, indent=2))
    print(json.dumps(result, indent=2))
    return 0 if min(result["precision"], result["recall"]) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
