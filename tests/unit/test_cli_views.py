"""`lookalike views` and `lookalike also-viewed` against a gateway over fakes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lookalike
from lookalike.cli import main
from support_client import Script, serving
from support_gateway import open_shop, product

NOW = int(time.time())


def run(*arguments: str) -> list[int]:
    """The exit codes of some commands, separated by a bar, against a shop of a coat and boots."""

    async def serve() -> list[int]:
        async with open_shop(also_viewed_seconds=0, session_key="a secret of sixteen") as shop:
            await shop.bring(product(id) for id in ("coat", "boot", "scarf"))
            server = ["--server", f"127.0.0.1:{shop.gateway.port}"]
            codes: list[int] = []
            command: list[str] = []
            for each in (*arguments, "|"):
                if each == "|":
                    codes.append(await asyncio.to_thread(main, [*server, *command]))
                    command = []
                else:
                    command.append(each)
            return codes

    return asyncio.run(serve())


def written(path: Path, *rows: str) -> str:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_views_of_a_file_are_listed_and_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = datetime.fromtimestamp(NOW, tz=UTC)
    file = written(
        tmp_path / "views.csv",
        "product,session,time",
        f"coat,one,{NOW}",
        f"boot,one,{day:%Y-%m-%dT%H:%M:%SZ}",
        f"coat,two,{day:%Y-%m-%d %H:%M:%S}",
        f"catalogs/default/products/boot,two,{NOW - 60}.5",
    )
    codes = run(
        "views", "import", file, "|", "views", "import", file, "|", "also-viewed", "coat", "|",
        "also-viewed", "coat", "--json", "--page-size", "1", "|", "views", "forget", "two", "nobody", "|",
        "also-viewed", "coat", "--filter", "available",
    )  # fmt: skip
    assert codes == [0] * 6
    said = capsys.readouterr()
    assert said.out.count("recorded 4 views\n") == 2
    before, _, after = said.out.partition("forgot two (2 views)\nforgot nobody (0 views)\n")
    assert [line.split()[1:4] for line in before.splitlines() if "viewed together" in line] == [
        ["viewed", "together", "boot"]
    ]
    assert json.loads(before[before.index("{") :])["products"][0]["origin"] == "ORIGIN_VIEWED_TOGETHER"
    assert "viewed together" not in after
    assert after.count("looks alike") == 2


def test_what_does_not_count_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(
        tmp_path / "views.jsonl",
        json.dumps({"product": "coat", "session": 17, "time": NOW}),
        json.dumps({"product": "unknown", "session": "s", "time": NOW}),
        json.dumps({"product": "coat", "session": "s", "time": NOW + 10_000}),
        json.dumps({"product": "coat", "session": "s", "time": "yesterday"}),
        json.dumps({"product": "coat", "session": "s"}),
        json.dumps({"product": "a b", "session": "s", "time": NOW}),
        json.dumps({"product": "coat", "session": "x" * 257, "time": NOW}),
        json.dumps({"product": "coat", "time": NOW}),
        json.dumps({"product": "coat", "session": "s", "time": 1e15}),
        "{",
    )
    assert run("views", "import", file, "|", "views", "import", file, "--json") == [1, 1]
    said = capsys.readouterr()
    assert said.out.startswith(
        "recorded 1 view; left out: 1 of unknown products, 1 in the future or too long ago, 7 in rows that do not "
        "parse\n"
    )
    assert json.loads(said.out[said.out.index("{") :])["unknownProducts"] == "1"
    for line, sentence in (
        (4, "the time 'yesterday' is none; write 2026-11-26T09:30:00Z, or seconds since 1970"),
        (5, "the time '' is none"),
        (6, "the product 'a b' is no id"),
        (7, "the session has 257 characters; 256 at most"),
        (8, "has no session"),
        (9, "the time '1000000000000000.0' is none"),
        (10, "is not JSON"),
    ):
        assert f"{file} line {line}: {sentence}" in said.err


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "views.csv",
            b"product,time\ncoat,1\n",
            "has no column 'session'; its first line names product, session, time",
        ),
        ("views.csv", b"product,session,time\ncoat,\xff,1\n", "is not UTF-8 text"),
        ("views.txt", b"", "is no file of views; give a .csv or .jsonl file"),
        ("nowhere.csv", None, "cannot be read (No such file or directory)"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run("views", "import", str(tmp_path / name)) == [2]
    assert sentence in capsys.readouterr().err


def test_the_example_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "also_viewed.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)

    async def serve() -> None:
        async with open_shop() as shop:
            await shop.bring(product(id) for id in ("sku-1", "sku-2"))
            code = example.replace("127.0.0.1:50051", f"127.0.0.1:{shop.gateway.port}")
            await asyncio.to_thread(exec, code, {})

    asyncio.run(serve())
    said = capsys.readouterr().out
    assert "accepted: 1" in said
    assert said.endswith("catalogs/default/products/sku-2 1.0 2\n")


def test_the_synchronous_client_forgets_too() -> None:
    script = Script()
    script.say("DeleteSessionViews", lookalike.v1.product_service_pb2.DeleteSessionViewsResponse(deleted_views=3))

    async def serve() -> int:
        def forget(address: str) -> int:
            with lookalike.SyncClient(address, catalog="summer") as client:
                return client.forget_session("visit")

        async with serving(script) as address:
            return await asyncio.to_thread(forget, address)

    assert asyncio.run(serve()) == 3
    assert str(script.requests[0]) == 'parent: "catalogs/summer"\nsession: "visit"\n'
