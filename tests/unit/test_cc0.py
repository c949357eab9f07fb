"""The CC0 demo catalog against a local server: fetched, resumed, and refused with a sentence."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lookalike_service.demo.cc0 import DownloadFailed, Manifest, ManifestFile, download_catalog


class QuietHandler(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "www" / "somebody" / "clothes" / "abc123" / "images"
    root.mkdir(parents=True)
    for index in range(6):
        (root / f"{index}.jpg").write_bytes(bytes([index]) * (100 + index))
    return root


@pytest.fixture
def manifest(repository: Path) -> Manifest:
    files = [
        ManifestFile(
            f"images/{p.name}",
            "T-Shirt" if i % 2 else "Dress",
            p.stat().st_size,
            hashlib.sha256(p.read_bytes()).hexdigest(),
        )
        for i, p in enumerate(sorted(repository.iterdir()))
    ]
    return Manifest("somebody/clothes", "abc123", "CC0-1.0", tuple(files))


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def server(tmp_path: Path, repository: Path, asked: list[str]) -> Iterator[str]:
    handler = type("Handler", (QuietHandler,), {"asked": asked})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_downloads_and_describes_every_photo(tmp_path: Path, manifest: Manifest, server: str) -> None:
    seen: list[tuple[int, int]] = []
    products = download_catalog(
        tmp_path / "cc0", manifest=manifest, server=server, progress=lambda d, t: seen.append((d, t))
    )
    rows = [json.loads(line) for line in products.read_text().splitlines()]
    assert [row["category"] for row in rows[:2]] == ["dress", "top/t-shirt"]
    assert all((tmp_path / "cc0" / row["images"][0]).stat().st_size >= 100 for row in rows)
    assert len({row["id"] for row in rows}) == 6
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)


def test_resumes_where_it_was_cut(
    tmp_path: Path, manifest: Manifest, server: str, asked: list[str], repository: Path
) -> None:
    hidden = repository / "5.jpg"
    content = hidden.read_bytes()
    hidden.unlink()
    with pytest.raises(DownloadFailed, match=r"5\.jpg.*404.*resumes"):
        download_catalog(tmp_path / "cc0", manifest=manifest, server=server)
    hidden.write_bytes(content)
    (tmp_path / "cc0" / "images" / "0.jpg").write_bytes(b"cut short")
    asked.clear()
    download_catalog(tmp_path / "cc0", manifest=manifest, server=server)
    kept = set(asked)
    assert {path.rsplit("/", 1)[1] for path in kept} >= {"0.jpg", "5.jpg"}
    assert len(kept) < 6


def test_a_changed_photo_is_refused(tmp_path: Path, manifest: Manifest, server: str, repository: Path) -> None:
    (repository / "3.jpg").write_bytes(b"x" * 103)
    with pytest.raises(DownloadFailed, match="checksum differs"):
        download_catalog(tmp_path / "cc0", manifest=manifest, server=server)


def test_offline_is_a_sentence(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(DownloadFailed, match="without a connection use"):
        download_catalog(tmp_path / "cc0", manifest=manifest, server="http://127.0.0.1:9")


def test_the_packaged_manifest_holds_about_400_cc0_photos() -> None:
    packaged = Manifest.packaged()
    assert packaged.licence.startswith("CC0")
    assert 350 <= len(packaged.files) <= 450
    assert len({file.file for file in packaged.files}) == len(packaged.files)
    assert all(len(file.sha256) == 64 and file.bytes > 0 for file in packaged.files)
