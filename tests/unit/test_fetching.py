"""Catalogs and images at addresses: a web server on this machine, and fsspec's memory in place of a bucket."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import fsspec
import fsspec.config
import pytest

from lookalike.catalogs import CatalogUnreadable, Fetcher, Loaded, load, open_catalog
from lookalike.catalogs.fetching import Unfetchable
from lookalike.catalogs.locations import LocationInvalid, describe, resolve
from support_http import Site, website


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with website({"/a.jpg": b"a" * 1000, "/shop/images/b.jpg": b"b"}) as site:
        yield site


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    file_system = fsspec.filesystem("memory")
    yield file_system
    file_system.rm("/", recursive=True)


def loaded(place: Path | str, *, fetcher: Fetcher | None = None) -> list[Loaded]:
    async def collect() -> list[Loaded]:
        async with fetcher or Fetcher() as opened, open_catalog(place, fetcher=opened) as catalog:
            return [row async for row in load(catalog, fetcher=opened)]

    return asyncio.run(collect())


def fetch(address: str, *, timeout: float = 10.0) -> bytes:
    async def read() -> bytes:
        async with Fetcher(timeout=timeout) as fetcher:
            return await fetcher.read_image(address)

    return asyncio.run(read())


def lines(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


# Addresses


@pytest.mark.parametrize(
    ("reference", "base", "location"),
    [
        ("a.jpg", Path("shop"), Path("shop/a.jpg")),
        ("/data/a.jpg", Path("shop"), Path("/data/a.jpg")),
        ("https://x.example/a.jpg?w=2", Path("shop"), "https://x.example/a.jpg?w=2"),
        ("images/a.jpg", "https://x.example/feed/products.csv?key=1", "https://x.example/feed/images/a.jpg"),
        ("/a.jpg", "https://x.example/feed/products.csv", "https://x.example/a.jpg"),
        ("../a.jpg", "s3://bucket/feed/products.csv", "s3://bucket/a.jpg"),
        ("../../../a.jpg", "s3://bucket/feed/products.csv", "s3://bucket/a.jpg"),
        ("/a b.jpg", "s3://bucket/feed/products.csv", "s3://bucket/a b.jpg"),
        ("dresses/a.jpg", "s3://bucket/photos/", "s3://bucket/photos/dresses/a.jpg"),
        ("gs://other/a.jpg", "s3://bucket/products.csv", "gs://other/a.jpg"),
    ],
)
def test_references_are_relative_to_the_catalog(reference: str, base: Path | str, location: Path | str) -> None:
    assert resolve(reference, base=base) == location


@pytest.mark.parametrize("base", [Path("shop"), "https://x.example/products.csv", "s3://bucket/products.csv"])
@pytest.mark.parametrize(
    "reference", ["file:///etc/passwd", "local:///etc/passwd", "zip://a::s3://b/c.zip", "git:///x"]
)
def test_a_catalog_of_somebody_else_reads_no_file_of_this_machine(reference: str, base: Path | str) -> None:
    with pytest.raises(LocationInvalid, match="are not read"):
        resolve(reference, base=base)
    with pytest.raises(LocationInvalid, match="neither a relative path nor an address"):
        resolve("file:/etc/passwd", base="https://x.example/products.csv")
    assert resolve("/etc/passwd", base="https://x.example/products.csv") == "https://x.example/etc/passwd"


def test_secrets_of_addresses_are_not_shown() -> None:
    shown = describe("https://user:secret@x.example/a.csv?X-Amz-Signature=secret")
    assert shown == "https://x.example/a.csv"


# Images over http


def test_an_image_is_fetched_with_one_request(site: Site) -> None:
    assert fetch(f"{site.url}/a.jpg") == b"a" * 1000
    assert site.asked == {"/a.jpg": 1}


def test_redirects_are_followed(site: Site) -> None:
    site.redirects["/old.jpg"] = "/a.jpg"
    assert fetch(f"{site.url}/old.jpg") == b"a" * 1000


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, 0])
def test_passing_failures_are_tried_again(site: Site, fault: int) -> None:
    site.faults["/a.jpg"] = deque([fault])
    assert fetch(f"{site.url}/a.jpg") == b"a" * 1000
    assert site.asked["/a.jpg"] == 2


def test_a_server_that_says_when_to_come_back_is_heeded(site: Site) -> None:
    site.faults["/a.jpg"] = deque([429])
    site.headers["Retry-After"] = "2"
    began = time.monotonic()
    assert fetch(f"{site.url}/a.jpg") == b"a" * 1000
    assert time.monotonic() - began >= 2


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (403, "403 Forbidden"), (410, "410 Gone")])
def test_lasting_failures_are_not(site: Site, status: int, reason: str) -> None:
    site.faults["/a.jpg"] = deque([status])
    with pytest.raises(Unfetchable, match=reason):
        fetch(f"{site.url}/a.jpg")
    assert site.asked["/a.jpg"] == 1


def test_a_failure_that_stays_says_how_often_it_was_tried(site: Site) -> None:
    site.faults["/a.jpg"] = deque([503] * 9)
    with pytest.raises(Unfetchable, match="503 Service Unavailable; tried 4 times"):
        fetch(f"{site.url}/a.jpg")
    assert site.asked["/a.jpg"] == 4


def test_nobody_there_is_said() -> None:
    with pytest.raises(Unfetchable, match=r"Cannot connect to host 127\.0\.0\.1:1 .*; tried 4 times"):
        fetch("http://127.0.0.1:1/a.jpg")


def test_a_slow_server_is_given_up(site: Site) -> None:
    site.delay = 1.5
    with pytest.raises(Unfetchable, match="it took too long; tried 4 times"):
        fetch(f"{site.url}/a.jpg", timeout=0.2)


def test_a_large_image_is_refused_before_it_is_read(site: Site) -> None:
    site.files["/large.jpg"] = bytes(21 * 2**20)
    site.endless.add("/endless.jpg")
    for path in ("/large.jpg", "/endless.jpg"):
        with pytest.raises(Unfetchable, match="an image may have 20 MiB and this one has more"):
            fetch(f"{site.url}{path}")
    assert site.bytes_sent < 60 * 2**20


def test_credentials_come_from_the_settings_of_fsspec(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"client_kwargs": {"headers": {"Authorization": "Bearer secret"}}}
    monkeypatch.setitem(fsspec.config.conf, "http", settings)
    fetch(f"{site.url}/a.jpg")
    assert site.credentials == ["Bearer secret"]


# Catalogs


def test_a_missing_image_is_the_failure_of_one_product(site: Site) -> None:
    site.files["/shop/products.jsonl"] = lines(
        {"id": "relative", "image": "images/b.jpg"},
        {"id": "missing", "images": ["images/c.jpg"]},
        {"id": "rooted", "image": "/a.jpg"},
        {"id": "whole", "image": f"{site.url}/a.jpg"},
    )
    rows = loaded(f"{site.url}/shop/products.jsonl?version=3")
    assert [row.row.label for row in rows if row.product] == ["relative", "rooted", "whole"]
    assert rows[1].problems == ("the image images/c.jpg cannot be fetched (404 Not Found)",)
    assert rows[0].product is not None and rows[0].product.images[0].content == b"b"


def test_a_local_catalog_may_name_addresses(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text(f"id,images\nx,{site.url}/a.jpg|local.jpg\n")
    (tmp_path / "local.jpg").write_bytes(b"local")
    (row,) = loaded(path)
    assert row.product is not None
    assert [image.content for image in row.product.images] == [b"a" * 1000, b"local"]


def test_rows_are_fetched_ahead_and_stay_in_order(site: Site) -> None:
    site.delay = 0.2
    site.files["/products.csv"] = ("id,image\n" + "".join(f"p{number},a.jpg\n" for number in range(40))).encode()
    began = time.monotonic()
    rows = loaded(f"{site.url}/products.csv", fetcher=Fetcher(concurrency=8))
    assert [row.row.label for row in rows] == [f"p{number}" for number in range(40)]
    assert time.monotonic() - began < 0.2 * 40
    assert 4 <= site.most_at_once <= 8


def test_no_more_is_fetched_than_is_wanted(site: Site) -> None:
    site.files["/products.csv"] = ("id,image\n" + "".join(f"p{number},a.jpg\n" for number in range(100))).encode()

    async def take_one() -> None:
        async with Fetcher() as fetcher, open_catalog(f"{site.url}/products.csv", fetcher=fetcher) as catalog:
            rows = load(catalog, fetcher=fetcher, ahead=10)
            await anext(rows)
            await asyncio.sleep(0.3)
            await rows.aclose()

    asyncio.run(take_one())
    assert site.asked["/a.jpg"] <= 10


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing.csv", r"/missing\.csv cannot be read \(404 Not Found\)"),
        ("/shop/", "folders cannot be listed over http"),
        ("/broken.csv", r"127\.0\.0\.1:[0-9]+/broken\.csv has a column 'colour'"),
    ],
)
def test_a_catalog_that_cannot_be_read_is_said(site: Site, path: str, message: str) -> None:
    site.files["/broken.csv"] = b"id,colour\n1,red\n"
    with pytest.raises(CatalogUnreadable, match=message):
        loaded(f"{site.url}{path}")


@pytest.mark.parametrize("address", ["ftp://x.example/products.csv", "file:///tmp/products.csv"])
def test_other_protocols_are_refused(address: str) -> None:
    with pytest.raises(CatalogUnreadable, match="are not read; there are http, https, s3"):
        loaded(address)


# Buckets


def test_a_bucket_is_read_as_a_folder(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe({"/shop/photos/dresses/red linen.jpg": b"r", "/shop/photos/plain.png": b"p", "/shop/photos/a.txt": b""})
    rows = loaded("memory://shop/photos")
    assert [(row.product.name, row.product.category) for row in rows if row.product] == [
        ("dresses-red-linen", "dress"),
        ("plain", ""),
    ]
    assert rows[0].product is not None and rows[0].product.images[0].content == b"r"


def test_a_file_in_a_bucket_names_images_beside_it(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe({"/shop/images/a.jpg": b"a", "/shop/large.jpg": bytes(20 * 2**20 + 1)})
    records = [{"id": "x", "image": "images/a.jpg"}, {"id": "y", "image": "b.jpg"}, {"id": "z", "image": "large.jpg"}]
    bucket.pipe("/shop/products.jsonl", lines(*records))
    for place in ("memory://shop/products.jsonl", "memory://shop"):
        good, missing, large = loaded(place)
        assert good.product is not None and good.product.images[0].content == b"a"
        assert missing.problems == ("the image b.jpg cannot be fetched (it does not exist)",)
        assert "an image may have 20 MiB" in large.problems[0]


def test_an_empty_bucket_is_said(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe("/shop/notes.txt", b"")
    with pytest.raises(CatalogUnreadable, match="holds no JPEG, PNG or WebP images"):
        loaded("memory://shop")
