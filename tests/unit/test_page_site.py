"""The page's web server: its files, its thumbnails, its headers, and whom it lets in."""

from __future__ import annotations

import io
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from fakes import photo
from lookalike_service.errors import PermissionDenied, StartupError
from lookalike_service.web.files import STATIC
from lookalike_service.web.origins import check_host, check_origin
from lookalike_service.workers import reserved_page
from support_gateway import Shop, open_shop
from support_keys import Authority, KeyFile

LOOPBACK = "127.0.0.1:0"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        yield session


def url_of(shop: Shop) -> str:
    assert shop.gateway.site is not None
    return shop.gateway.site.url


async def test_the_page_comes_with_headers_that_let_nothing_foreign_in(http: aiohttp.ClientSession) -> None:
    async with open_shop(page_address=LOOPBACK) as shop:
        async with http.get(url_of(shop)) as answer:
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in answer.headers
            tag = answer.headers["ETag"]
        async with http.get(url_of(shop), headers={"If-None-Match": tag}) as again:
            assert (again.status, await again.read()) == (304, b"")
        for file in STATIC.iterdir():
            async with http.get(f"{url_of(shop)}/{file.name}") as answer:
                assert answer.status == (404 if file.name == "index.html" else 200), file
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/..%2f..%2fsettings.py", "/%2e%2e/site.py", "/nothing.js"):
            async with http.get(f"{url_of(shop)}{path}") as answer:
                assert answer.status == 404


def test_the_files_hold_no_inline_code_and_ask_nobody_else() -> None:
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=", index)
    for path in STATIC.iterdir():
        content = path.read_text()
        foreign = re.findall(r"https?://[\w.]+", content)
        assert set(foreign) <= {"http://www.w3.org"}, path
        assert "innerHTML" not in content and "eval(" not in content, path
        for name in re.findall(r'from "\./([\w.]+)"|import "\./([\w.]+)"|(?:href|src)="([\w.]+)"', content):
            assert (STATIC / "".join(name)).exists(), (path, name)


async def test_a_plain_gateway_has_no_page() -> None:
    async with open_shop() as shop:
        assert shop.gateway.site is None


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError, match=r"the port is taken.*LOOKALIKE_PAGE_ADDRESS"):
            async with open_shop(page_address=address):
                pass
        with pytest.raises(StartupError, match=r"the port is taken.*LOOKALIKE_PAGE_ADDRESS"), reserved_page(address):
            pass
    with reserved_page("") as nothing:
        assert nothing == ""


async def test_several_gateways_may_share_the_port() -> None:
    with reserved_page(LOOPBACK) as address:
        assert not address.endswith(":0")
        with pytest.raises(StartupError), reserved_page(address):
            pass


async def test_beyond_this_machine_visitors_must_show_who_they_are(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"0\.0\.0\.0:0 can be reached.*LOOKALIKE_KEYS_FILE"):
        async with open_shop(page_address="0.0.0.0:0"):
            pass
    async with open_shop(page_address="0.0.0.0:0", keys_file=str(KeyFile(tmp_path).path)) as shop:
        assert shop.gateway.site is not None


async def test_the_page_is_encrypted_as_the_gateway_is(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    ours = Authority("us")
    certificate, key = ours.certify("gateway").write(tmp_path, "gateway")
    (tmp_path / "ca.pem").write_bytes(ours.certificate)
    files: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": str(tmp_path / "ca.pem")}
    stranger = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    known = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    known.load_cert_chain(*ours.certify("merchandiser").write(tmp_path, "merchandiser"))
    async with open_shop(page_address=LOOPBACK, **files) as shop:
        assert url_of(shop).startswith("https://")
        async with http.get(f"{url_of(shop)}/api/page", ssl=known) as answer:
            assert answer.status == 200
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await http.get(f"{url_of(shop)}/api/page", ssl=stranger)
        form = aiohttp.FormData()
        form.add_field("image", photo({"look": "red"}), filename="a.jpg")
        async with http.post(f"{url_of(shop)}/api/analyze", data=form, ssl=known) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "10.1.2.3", "Shop.example:443"])
def test_hosts_that_are_ours(host: str) -> None:
    check_host(host, known=("shop.example",))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "shop.example.evil.example", "[::1"])
def test_hosts_that_are_not(host: str) -> None:
    with pytest.raises(PermissionDenied, match="LOOKALIKE_PAGE_HOSTS"):
        check_host(host, known=("shop.example",))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Host": "127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:9999", "Host": "127.0.0.1:8080"},
        {"Origin": "null", "Host": "127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"},
    ],
)
async def test_other_sites_may_not_ask(headers: dict[str, str], http: aiohttp.ClientSession) -> None:
    with pytest.raises(PermissionDenied, match="not another site"):
        check_origin(headers)
    async with open_shop(page_address=LOOPBACK) as shop:
        async with http.post(f"{url_of(shop)}/api/search", json={}, headers=headers) as answer:
            assert answer.status == 403
        async with http.get(url_of(shop), headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403


def test_the_page_itself_and_what_is_no_browser_may() -> None:
    for site in ("same-origin", "none"):
        check_origin({"Sec-Fetch-Site": site, "Origin": "http://127.0.0.1:8080", "Host": "127.0.0.1:8080"})
    check_origin({})


def picture(
    mode: str = "RGB", kind: str = "JPEG", *, size: tuple[int, int] = (800, 400), turned: bool = False
) -> bytes:
    written = io.BytesIO()
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new(mode, size, (0, 200, 0) if mode == "RGB" else (0, 0, 0, 0)).save(written, kind, exif=exif)
    return written.getvalue()


async def test_thumbnails(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    headers = {"X-Api-Key": keys.add("web", rights='["search"]', requests_per_second=1)}

    async with open_shop(page_address=LOOPBACK, keys_file=str(keys.path)) as shop:

        async def seen(content: bytes, width: str = "240") -> tuple[int, Image.Image | None]:
            address = f"{url_of(shop)}/images/{await shop.images.put(content)}?w={width}"
            async with http.get(address, headers=headers) as answer:
                body = await answer.read()
                if answer.status != 200:
                    return answer.status, None
                assert answer.content_type == "image/jpeg"
                assert answer.headers["Cache-Control"].startswith("private")
                return 200, Image.open(io.BytesIO(body))

        _, plain = await seen(picture())
        assert plain is not None and plain.size == (240, 120)
        _, larger = await seen(picture(), "241")
        assert larger is not None and larger.size == (360, 180)
        _, upright = await seen(picture(turned=True))
        assert upright is not None and upright.size == (240, 480)
        _, opaque = await seen(picture("RGBA", "PNG"))
        assert opaque is not None and opaque.getpixel((5, 5)) == (255, 255, 255)
        # Beyond the quota of calls, which thumbnails do not use up.
        assert [(await seen(picture()))[0] for _ in range(5)] == [200] * 5
        assert (await seen(b"no picture"))[0] == 400
        for width in ("0", "-1", "x", "99999999"):
            assert (await seen(picture(), width))[0] == 400
        async with http.get(f"{url_of(shop)}/images/{'0' * 64}", headers=headers) as answer:
            assert answer.status == 404
        async with http.get(f"{url_of(shop)}/images/{await shop.images.put(picture())}") as answer:
            assert answer.status == 401
