"""`python -m lookalike_export.accuracy --data DATA`: starts the embedded Triton, measures, prints, writes JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from lookalike_export.accuracy.asking import Figures
from lookalike_export.accuracy.detection import detection
from lookalike_export.accuracy.items import items
from lookalike_export.accuracy.regions import masks_and_landmarks
from lookalike_export.accuracy.street import street
from lookalike_export.accuracy.wardrobe import wardrobe
from lookalike_export.training.photos import DataError, load_street
from lookalike_service.model import GarmentFinder

PARTS = ("detection", "regions", "items", "street", "wardrobe")

WANTED = {
    "detect_ap50": 0.75,
    "detect_ap": 0.48,
    "detect_ap50_accessories": 0.38,
    "segment_miou": 0.80,
    "keypoints_pck05": 0.70,
    "items_top1": 0.92,
    "items_fine_top1": 0.84,
    "retrieval_p5": 0.90,
    "retrieval_view_r1": 0.95,
    "retrieval_still_r1": 0.80,
    "retrieval_street_r1": 0.90,
    "retrieval_rendered_r1": 0.95,
    "colour_overlap": 0.85,
    "colour_main": 0.85,
    "pattern_top1": 0.90,
    "material_top1": 0.75,
}
"""What the figures have to reach; the table is printed against it."""


async def measure(finder: GarmentFinder, data: Path, *, split: str, cache: Path, parts: list[str]) -> Figures:
    """The figures of the wanted parts; `finder` is a connection to the served ensemble."""
    figures: Figures = {}
    photos = load_street(data, split)
    if "detection" in parts:
        figures |= await detection(finder, photos, data / "street" / split / "coco.json")
    if "regions" in parts:
        figures |= await masks_and_landmarks(finder, photos)
    if "items" in parts:
        figures |= await items(finder, data, split, cache=cache)
    if "street" in parts:
        figures |= await street(finder, data, split)
    if "wardrobe" in parts:
        figures |= await wardrobe(finder, cache=cache)
    return figures


def main() -> int:
    """Measure and report; returns the exit status."""
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with street/ and items/")
    parser.add_argument("--split", default="public_test")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--out", type=Path, default=Path("build/accuracy.json"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only some figures")
    arguments = parser.parse_args()
    try:
        figures = asyncio.run(_with_triton(arguments))
    except DataError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 1
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1))
    _print(figures)
    print(f"written to {arguments.out}")
    return 0


def _print(figures: Figures) -> None:
    for key, value in figures.items():
        if not isinstance(value, dict):
            wanted = WANTED.get(key)
            print(
                f"{key:28} {value:.3f}" + (f"  wanted {wanted:.2f}{'' if value >= wanted else '  <'}" if wanted else "")
            )
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{key}: " + "  ".join(f"{name} {figure:.2f}" for name, figure in value.items()))


async def _with_triton(arguments: argparse.Namespace) -> Figures:
    from lookalike_service.embedded.triton import EmbeddedTriton
    from lookalike_service.triton import TritonFinder

    build = arguments.out.parent
    with EmbeddedTriton(arguments.repository, run_directory=build / "accuracy") as triton:
        finder = await TritonFinder.connect(triton.grpc_address, embedding_version=1)
        try:
            return await measure(
                finder, arguments.data, split=arguments.split, cache=build / "cache", parts=arguments.parts
            )
        finally:
            await finder.close()


if __name__ == "__main__":
    sys.exit(main())
