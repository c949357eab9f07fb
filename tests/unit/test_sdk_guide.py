"""Every block of Python in docs/sdk.md runs, in one program, against gateways over fakes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import lookalike
from fakes import photo
from lookalike.v1.product_pb2 import Money
from support_gateway import open_shop, product
from support_keys import Authority, KeyFile
from support_telemetry import kept_spans

GUIDE = Path(__file__).parents[2] / "docs/sdk.md"
PLAIN, SECURED = "127.0.0.1:50051", "lookalike.example:443"


@asynccontextmanager
async def shops(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The two servers of the guide; gives where they really are."""
    authority = Authority("authority")
    certificate, key = authority.certify("gateway").write(folder, "gateway")
    keys = KeyFile(folder)
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "key").write_text(keys.add("web") + "\n")
    with_tls: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key, "keys_file": str(keys.path)}
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(
            open_shop(also_viewed_seconds=0, session_key="a secret of sixteen", traces_share=0)
        )
        price = Money(amount_minor=12900, currency_code="EUR")
        coat = product("coat", title="Wool coat", category="outer", price=price, available=True)
        others = [product(f"{name}s", title=name.title(), available=True) for name in ("boot", "scarf", "hat", "glove")]
        await plain.bring([coat, *others])
        secured = await stack.enter_async_context(open_shop(folder=plain.folder, index=plain.index, **with_tls))
        yield {PLAIN: f"127.0.0.1:{plain.gateway.port}", SECURED: f"localhost:{secured.gateway.port}"}


async def run(source: str, *, folder: Path) -> str:
    """What the program prints; it must end well, without a warning."""
    path = folder / "guide.py"
    path.write_text(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(path), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(lookalike.__file__).parents[1])},
    )  # fmt: skip
    async with asyncio.timeout(120):
        out, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return out.decode()


async def test_every_block_of_the_guide_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 12
    coat, boots = {"look": "coat", "category": "outer"}, {"look": "boots", "category": "shoes"}
    (tmp_path / "street.jpg").write_bytes(photo(coat, boots))
    (tmp_path / "dress.jpg").write_bytes(photo({"look": "dress", "category": "dress"}))
    (tmp_path / "notes.txt").write_text("no photo")
    async with shops(tmp_path) as addresses:
        source = "\n".join(blocks)
        for printed, real in addresses.items():
            assert printed in source
            source = source.replace(printed, real)
        with kept_spans() as spans:
            said = await run(source, folder=tmp_path)
            traces = {format(span.context.trace_id, "032x") for span in spans.get_finished_spans()}
    for line in (
        "first product: catalogs/default/products/boots",
        "outer at 0.10,0.10,0.90,0.90",
        "  1.000 catalogs/default/products/coat Wool coat",
        "1 region, 5 products",
        "all pages: 5 products",
        "looks like it: Boot",
        "views taken in: 4\nviewed together: Boot\nfills the list: Hat",
        "created catalogs/default/products/dress-1 with 1 garment",
        "now 3900",
        "catalogs/default/products/skirt-6 failed: IMAGE_UNREADABLE",
        "garments: [2, 1]",
        "IMAGE_UNREADABLE ['image']",
        "SearchProducts: 1 attempt, ['inference', 'own', 'queue', 'search'], fine",
    ):
        assert f"{line}\n" in said, said
    assert re.search(r"^6 products, 1 failed, \d+/s$", said, re.MULTILINE)
    assert re.search(r"^the filter breaks off at character 17: unknown field 'colour'", said, re.MULTILINE)
    assert said.splitlines()[-1].removeprefix("trace ") in traces
