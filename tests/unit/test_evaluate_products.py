"""`lookalike evaluate` with products as queries: what looks alike, and what others also viewed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from lookalike.cli import main
from lookalike.evaluate.judgments import read_judgments
from support_gateway import open_shop, product
from support_sessions import Shopping, messages, view

# Bestsellers that every session sees would be as near to a product of one group among few as its companions are.
SHOPPING = Shopping(groups=6, sessions=300, noise=0.1)


def run(*arguments: object) -> int:
    """The exit code of the command against a shop whose visitors look at products of one group."""

    async def serve() -> int:
        async with open_shop() as shop:
            await shop.bring(product(id) for id in SHOPPING.products())
            recent = [
                view(each.product.rpartition("/")[2], each.session, seconds=int(time.time()))
                for each in SHOPPING.views()
            ]
            await shop.products.RecordViews(iter(messages(recent)))
            command = ["evaluate", "--server", f"127.0.0.1:{shop.gateway.port}", *map(str, arguments)]
            return await asyncio.to_thread(main, command)

    return asyncio.run(serve())


def judged(path: Path, *more: str) -> Path:
    rows = [f"{id},{other},1" for id, others in SHOPPING.companions().items() for other in sorted(others)]
    path.write_text("\n".join(["query_product,product,grade", *rows, *more]) + "\n")
    return path


def test_companions_are_measured_against_those_that_looks_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = judged(tmp_path / "pairs.csv")
    assert run(file, "--also-viewed", "--json") == 0
    viewed = json.loads(capsys.readouterr().out)
    assert run(file, "--json") == 0
    alike = json.loads(capsys.readouterr().out)
    assert (viewed["queries"], viewed["photos"], viewed["also_viewed"]) == (66, 66, True)
    assert viewed["versions"][0]["embedding_version"] == 0
    assert viewed["versions"][0]["means"]["recall@10"]["mean"] >= 0.9
    # Every product has a look of its own here, so that looks say nothing of who belongs to whom.
    assert alike["versions"][0]["embedding_version"] == 1
    assert alike["versions"][0]["means"]["recall@10"]["mean"] < 0.6
    assert viewed["per_query"][0]["query_product"] == "g0-0"
    assert viewed["per_query"][0]["photo"] == ""


def test_the_table_and_the_report_name_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, report = judged(tmp_path / "pairs.csv"), tmp_path / "report.html"
    assert run(file, "--also-viewed", "--similarity-share", "1", "--report", report) == 0
    said = capsys.readouterr().out
    assert "66 queries on 66 products" in said
    assert "also viewed" in said.splitlines()[1]
    page = report.read_text()
    assert "<th>also viewed" in page
    assert "g0-0" in page


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        (["unknown,g0-0,1"], (), "1 product that the catalog 'default' does not have (unknown on line 2)"),
        (["a b,g0-0,1"], (), "line 2: the product is 'a b'; ids are"),
        ([",g0-0,1"], (), "line 2: photo is empty"),
        (["g0-0,g0-1,1"], ("--also-viewed", "--embedding-version", "1"), "what others also viewed has none"),
        (["g0-0,g0-1,1"], ("--similarity-share", "0.5"), "add --also-viewed"),
    ],
)
def test_what_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[str], options: tuple[str, ...], sentence: str
) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(["query_product,product,grade", *rows]) + "\n")
    assert run(file, *options) == 2
    assert sentence in capsys.readouterr().err


def test_unknown_products_are_left_out_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = judged(tmp_path / "pairs.csv", "unknown,g0-0,1")
    assert run(file, "--also-viewed", "--skip-problems", "--json") == 1
    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert list(left_out["products"]) == ["unknown"]
    assert [photo["reason"] for photo in left_out["photos"]] == ["the product unknown is not in the catalog"]


def test_a_row_asks_with_one_thing(tmp_path: Path) -> None:
    file = tmp_path / "judged.csv"
    rows = ["a.jpg,,p1,1,,", ",p0,p1,2,,", "a.jpg,p0,p1,1,,", ",p0,p1,1,dress,"]
    file.write_text("\n".join(["photo,query_product,product,grade,category,comment", *rows]) + "\n")
    read = read_judgments(file)
    assert [(query.photo, query.product, query.subject) for query in read.queries] == [
        ("a.jpg", "", "a.jpg"),
        ("", "p0", "p0"),
    ]
    assert [problem.text for problem in read.problems] == [
        "names both a photo and a query_product",
        "category and region are for photos, not for a query_product",
    ]
    assert read.lines == {"p1": 2, "p0": 3}


def test_photos_have_no_also_viewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "judged.csv"
    file.write_text("photo,product,grade\na.jpg,g0-0,1\n")
    assert run(file, "--also-viewed") == 2
    assert "line 2 asks with a photo" in capsys.readouterr().err
