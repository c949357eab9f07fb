"""A demo catalog of about 400 CC0 photos, downloaded from the public repository that holds them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

__all__ = ["DownloadFailed", "Manifest", "download_catalog"]

_SERVER = "https://raw.githubusercontent.com"
_AT_ONCE = 8
_TIMEOUT_SECONDS = 30
_TRIES = 2
_COARSE = {
    "T-Shirt": "top",
    "Longsleeve": "top",
    "Shirt": "top",
    "Polo": "top",
    "Blouse": "top",
    "Undershirt": "top",
    "Body": "top",
    "Top": "top",
    "Hoodie": "top",
    "Outwear": "outer",
    "Blazer": "outer",
}


class DownloadFailed(Exception):
    """The photos could not be fetched; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One photo of the public repository."""

    file: str
    label: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which photos make the catalog, at which commit, with checksums."""

    repository: str
    commit: str
    licence: str
    files: tuple[ManifestFile, ...]

    @classmethod
    def packaged(cls) -> Manifest:
        """The manifest that comes with the project."""
        raw = json.loads(resources.files(__package__).joinpath("cc0_manifest.json").read_text())
        files = tuple(ManifestFile(**file) for file in raw["files"])
        return cls(raw["repository"], raw["commit"], raw["licence"], files)


def download_catalog(
    folder: Path,
    *,
    manifest: Manifest | None = None,
    server: str = _SERVER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fetch what is missing below `folder` and write `products.jsonl` there; returns that file.

    A photo counts as there when its checksum agrees, so a broken download is resumed by calling again. `progress`
    gets photos done and in all. Raises DownloadFailed when a photo cannot be fetched or is not the listed one.
    """
    manifest = manifest or Manifest.packaged()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in manifest.files if not _is_there(folder / file.file, file)]
    done = len(manifest.files) - len(missing)
    progress(done, len(manifest.files))
    base = f"{server}/{manifest.repository}/{manifest.commit}"
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(lambda file: _fetch(f"{base}/{file.file}", folder / file.file, file), missing):
                done += 1
                progress(done, len(manifest.files))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _write_products(folder, manifest)


def _is_there(path: Path, file: ManifestFile) -> bool:
    return path.exists() and path.stat().st_size == file.bytes and _checksum(path.read_bytes()) == file.sha256


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fetch(url: str, path: Path, file: ManifestFile) -> None:
    content = _get(url, at_most=file.bytes + 1)
    if _checksum(content) != file.sha256:
        raise DownloadFailed(
            f"{url} is not the photo that the manifest lists (checksum differs); something on the way "
            "changes files. Use a folder of your own: make demo CATALOG=FOLDER"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.rename(path)


def _get(url: str, *, at_most: int) -> bytes:
    failure: Exception | None = None
    for _ in range(_TRIES):
        try:
            with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
                return bytes(answer.read(at_most))
        except (OSError, HTTPException) as error:
            failure = error
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection that it came over
    raise DownloadFailed(
        f"cannot fetch {url}: {failure}. Photos that arrived are kept, so running this again resumes; without a "
        "connection use `make demo` (rendered wardrobe) or `make demo CATALOG=FOLDER`"
    ) from failure


def _write_products(folder: Path, manifest: Manifest) -> Path:
    counts: Counter[str] = Counter()
    rows = []
    for file in manifest.files:
        counts[file.label] += 1
        coarse = _COARSE.get(file.label)
        category = f"{coarse}/{file.label.lower()}" if coarse else file.label.lower()
        row = {
            "id": Path(file.file).stem,
            "title": f"{file.label} {counts[file.label]}",
            "category": category,
            "images": [file.file],
        }
        rows.append(json.dumps(row))
    products = folder / "products.jsonl"
    products.write_text("\n".join(rows) + "\n")
    return products
