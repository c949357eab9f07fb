"""`make demo`: starts the stack, imports a catalog, searches with a photo, draws the result, stops everything."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lookalike import LookalikeError, MaskFormat, ProductView, SyncClient, cli
from lookalike.cli.display import Display
from lookalike.pictures import draw_search, images_in_folder
from lookalike_service.demo.cc0 import DownloadFailed, download_catalog
from lookalike_service.embedded.stack import MODEL_REPOSITORY, serving
from lookalike_service.errors import StartupError
from lookalike_service.wardrobe import make_items, write_catalog, write_outfits

_BUILD = Path("build") / "demo"
_ITEMS, _OUTFITS, _QUERY = 180, 6, 2
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_LOOKALIKES = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """What the demo shows: a catalog to import, a photo to search with, and where its state is kept."""

    catalog: Path
    photo: Path
    directory: Path


def main() -> int:
    """Run the demo; 0 when a picture was written, 1 with a sentence when something was in the way."""
    parser = argparse.ArgumentParser(prog="lookalike_service.demo", description=__doc__)
    parser.add_argument(
        "--catalog", default="", help="a folder of images, a CSV or JSONL file, or cc0; empty: the rendered wardrobe"
    )
    parser.add_argument("--photo", default="", help="the photo to search with")
    arguments = parser.parse_args()
    try:
        scene = _prepare(arguments.catalog, arguments.photo)
        return _show(scene)
    except (StartupError, DownloadFailed, LookalikeError, FileNotFoundError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _prepare(catalog: str, photo: str) -> Scene:
    if photo and not Path(photo).is_file():
        raise FileNotFoundError(f"there is no photo {photo}; PHOTO names a JPEG, PNG or WebP file")
    if not catalog:
        folder, query = _wardrobe(_BUILD / "wardrobe")
    elif catalog == "cc0":
        folder = _cc0(_BUILD / "cc0")
        query = _first_image(folder.parent)
    else:
        folder = Path(catalog)
        if not folder.exists():
            raise FileNotFoundError(
                f"there is no catalog {folder}; CATALOG names a folder of images, a CSV or JSONL file, or is cc0"
            )
        query = _first_image(folder if folder.is_dir() else folder.parent)
    # Unchanged products are not embedded again, so other models begin with a state of their own.
    key = hashlib.sha256(f"{folder.resolve()} {_fingerprint()}".encode()).hexdigest()[:12]
    return Scene(folder, Path(photo) if photo else query, _BUILD / f"state-{key}")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for model in sorted(MODEL_REPOSITORY.glob("*/*/model.onnx")):
        digest.update(model.read_bytes())
    return digest.hexdigest()


def _wardrobe(folder: Path) -> tuple[Path, Path]:
    """Draw the wardrobe and some outfits of it, once."""
    catalog, outfits = folder / "catalog", folder / "outfits"
    if not (folder / "done").exists():
        items = make_items(_ITEMS)
        with _progress("drawing") as progress:
            task = progress.add_task("drawing a wardrobe", total=None)
            write_catalog(
                catalog,
                items=items,
                views=(0, 1),
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        write_outfits(outfits, items=items, count=_OUTFITS)
        (folder / "done").touch()
    return catalog / "products.jsonl", sorted(outfits.glob("*.jpg"))[_QUERY]


def _cc0(folder: Path) -> Path:
    with _progress("photos") as progress:
        task = progress.add_task("fetching CC0 photos", total=None)
        return download_catalog(folder, progress=lambda done, total: progress.update(task, completed=done, total=total))


def _progress(unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn()
    )


def _first_image(folder: Path) -> Path:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _IMAGES:
            return path
    raise FileNotFoundError(f"there is no image below {folder}; put JPEG, PNG or WebP files there")


def _show(scene: Scene) -> int:
    started = time.perf_counter()
    print("starting Triton, Milvus Lite and the gateway")
    with serving(scene.directory) as address:
        print(f"serving on {address} after {time.perf_counter() - started:.0f} s")
        # 1 says that some rows could not be imported, which it has listed; the rest is searchable all the same.
        if cli.main(["--server", address, "import", str(scene.catalog)]) > 1:
            return 1
        with SyncClient(address) as client:
            answer = client.search(scene.photo, page_size=_LOOKALIKES, mask_format=MaskFormat.MASK_FORMAT_RUN_LENGTH)
            products = sum(1 for _ in client.list_products(product_view=ProductView.PRODUCT_VIEW_NAME))
        Display().search(answer)
        picture = _BUILD / "lookalikes.png"
        draw_search(scene.photo, answer.results, images_in_folder(scene.directory / "images")).save(picture)
    print(f"demo: {len(answer.results)} garments, {products} products, picture {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
