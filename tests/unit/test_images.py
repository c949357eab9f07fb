"""The image store: content-addressed, durable, clear when its place cannot be used."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from lookalike_service.errors import StartupError, StoreUnavailable
from lookalike_service.images import Images

PHOTO = b"a photo" * 1000
SHA256 = hashlib.sha256(PHOTO).hexdigest()


@pytest.fixture(params=["folder", "memory"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Images:
    return Images(f"file://{tmp_path}/images" if request.param == "folder" else f"memory://{tmp_path.name}")


async def test_what_is_put_is_got(images: Images) -> None:
    assert await images.put(PHOTO) == SHA256
    assert await images.put(PHOTO) == SHA256
    assert await images.get(SHA256) == PHOTO


@pytest.mark.parametrize("name", ["0" * 64, "", "../../etc/passwd", SHA256.upper(), SHA256[:-1]])
async def test_what_is_not_there(images: Images, name: str) -> None:
    assert await images.get(name) is None


async def test_many_at_once_leave_one_file(tmp_path: Path) -> None:
    images = Images(f"file://{tmp_path}")
    await asyncio.gather(*(images.put(PHOTO) for _ in range(8)))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [SHA256]


async def test_a_relative_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await Images("some/images").put(PHOTO)
    assert (tmp_path / "some" / "images" / SHA256[:2] / SHA256[2:4] / SHA256).read_bytes() == PHOTO


@pytest.mark.parametrize("url", ["file:///proc/nowhere", "nonsense://x"])
def test_a_place_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(StartupError, match="LOOKALIKE_IMAGES_URL"):
        Images(url)


async def test_a_folder_that_cannot_be_written_any_more(tmp_path: Path) -> None:
    images = Images(f"file://{tmp_path}/images")
    (tmp_path / "images").rmdir()
    (tmp_path / "images").write_text("a file in its place")
    with pytest.raises(StoreUnavailable, match="full or read-only"):
        await images.put(PHOTO)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await images.get(SHA256)
