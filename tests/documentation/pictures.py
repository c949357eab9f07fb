"""Draws the pictures of docs/way_of_a_photo.md: what each stage hands on for the rendered photo of `make demo`.

    PYTHONPATH=tests python -m documentation.pictures

The stages are called directly, one after the other, with the graphs and the glue that Triton serves; product photos
become vectors by the gateway's own rules. It needs half a minute on one core, no server and no photograph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
from PIL import Image

from bench.reranking import vocabularies
from documentation import drawing
from documentation.drawing import Followed, Shelved
from lookalike_service.garments import chosen
from lookalike_service.triton_answers import read_garments
from lookalike_service.wardrobe import Item, make_items, write_catalog, write_outfits
from support_direct import DirectPipeline

__all__ = ["LARGEST_BYTES", "PICTURES", "follow", "shelf"]

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "pictures"
LARGEST_BYTES: Final = 200_000
# Those of `make demo`: the catalog, and which of its outfits is searched with.
ITEMS, OUTFITS, QUERY = 180, 6, 2
PICTURES: Final[dict[str, Callable[[Followed], Image.Image]]] = {
    "decode": drawing.decoded,
    "detect": drawing.detected,
    "crop": drawing.cropped,
    "keypoints": drawing.landmarks,
    "segment": drawing.masks,
    "embed": drawing.described,
}


def follow(pipeline: DirectPipeline, photo: bytes) -> Followed:
    """What the stages hand to each other for a photo, and the garments that the gateway makes of it."""
    arrays, words = pipeline.follow(photo), vocabularies()
    labels = (ROOT / "model_repository" / "detect" / "labels" / "garment.txt").read_text().split()
    return Followed(arrays, read_garments(arrays, vocabularies=words, detected=labels), words, labels)


def shelf(pipeline: DirectPipeline, catalog: Path, items: list[Item], *, views: int) -> list[Shelved]:
    """The products of a rendered catalog with the vector of each photo, chosen as an import chooses it."""
    words = vocabularies()
    labels = (ROOT / "model_repository" / "detect" / "labels" / "garment.txt").read_text().split()
    shelved = []
    for item in items:
        for view in range(views):
            photo = (catalog / "images" / f"{item.id}-{view}.jpg").read_bytes()
            garments = read_garments(pipeline.find(photo), vocabularies=words, detected=labels)
            shelved.append(Shelved(item, photo, chosen(garments, None, item.category).embedding))
    return shelved


def _save(picture: Image.Image, name: str) -> None:
    path = FOLDER / f"stage_{name}.png"
    # 256 colors are enough for drawings, and a third of the bytes.
    picture.quantize(256, kmeans=3).save(path, optimize=True)
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(f"{path.name} has {size} bytes, more than {LARGEST_BYTES}; draw it smaller in drawing.py")
    print(f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {size // 1000} kB")


def main() -> None:
    """Write all of them."""
    cv2.setNumThreads(1)
    pipeline = DirectPipeline(ROOT / "model_repository")
    items = make_items(ITEMS)
    with tempfile.TemporaryDirectory() as folder:
        photo = sorted(write_outfits(Path(folder), items=items, count=OUTFITS))[QUERY].read_bytes()
        followed = follow(pipeline, photo)
        for name, draw in PICTURES.items():
            _save(draw(followed), name)
        catalog = write_catalog(Path(folder) / "catalog", items=items, views=(0, 1)).parent
        _save(drawing.searched(followed, shelf(pipeline, catalog, items, views=2)), "search")


if __name__ == "__main__":
    main()
