"""What `lookalike evaluate` cannot use: files, rows, photos and products, each named with what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from fakes import photo
from lookalike.cli import main
from support_client import failure
from support_gateway import open_shop, product
from support_http import website
from support_judged import PRODUCTS, JudgedServer, evaluate, judged, told, two_versions, write_judged


@pytest.fixture
def server(tmp_path: Path) -> JudgedServer:
    """Two versions, and twelve photos beside the judged file."""
    return two_versions(tmp_path)


def test_unknown_products_are_named_and_may_be_left_out(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("red.png", "p0", 2), *(("red.png", f"gone-{number}", 3) for number in range(10)), ("blue.png", "lost", 3)]
    path = write_judged(tmp_path / "judged.csv", rows)
    assert evaluate(server, path) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"lookalike: {path} names 11 products that the catalog 'default' does not have (gone-0 on line 3, gone-1 on"
    )
    assert error.endswith(
        "gone-7 on line 10, and 3 more). Import what is missing, or name the right catalog with --catalog; "
        "--skip-problems leaves them out\n"
    )
    assert not server.searches()
    assert evaluate(server, path, "--skip-problems", "--json") == 1
    answer = told(capsys)
    assert answer["left_out"]["products"] == {"lost": 13, **{f"gone-{number}": number + 3 for number in range(10)}}
    assert answer["queries"] == 1 and answer["unanswerable_queries"] == 1
    # The products that are gone do not count against recall.
    assert answer["versions"][0]["means"]["recall@10"]["mean"] == 1
    assert evaluate(server, path, "--skip-problems") == 1
    output = capsys.readouterr().out
    assert output.startswith("LEFT OUT: 11 products that the catalog does not have (gone-0 on line 3, ")
    assert "note: 1 query without a product of grade 1 or more: recall is not defined there" in output


def test_a_catalog_that_is_not_there_is_the_servers_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_versions(tmp_path)

    async def serve_and_run() -> int:
        async with open_shop() as shop:
            server = f"127.0.0.1:{shop.gateway.port}"
            command = ["evaluate", str(judged(tmp_path)), "--server", server, "--catalog", "nowhere"]
            return await asyncio.to_thread(main, command)

    assert asyncio.run(serve_and_run()) == 3
    assert "CATALOG_NOT_FOUND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("red.png,p0,three", "line 3: the grade is 'three'; write a whole number: 0 for not alike"),
        ("red.png,p0,-1", "line 3: the grade is '-1'"),
        ("red.png,p0,1.5", "line 3: the grade is '1.5'"),
        ("red.png,p0,", "line 3: grade is empty"),
        (",p0,1", "line 3: photo is empty"),
        ("red.png", "line 3: product is empty"),
        ("red.png,p 0,1", "line 3: the product is 'p 0'; ids are 1 to 128 of the characters"),
        (
            "red.png,catalogs/summer/products/p0,1",
            "line 3: the product catalogs/summer/products/p0 is not of catalogs/d",
        ),
        ('red.png,p0,1,dress,"0.5,0.5,0.4,0.9"', "line 3: '0.5,0.5,0.4,0.9' is no region; write x0,y0,x1,y1"),
        ("red.png,p0,1,dress,0.1,0.1,0.4,0.9", "line 3: has 8 cells, but there are 5 columns (a region needs quotes)"),
        ("red.png,p0,2", "line 3: the product p0 has grade 3 for this query on line 2, here 2"),
    ],
)
def test_rows_that_do_not_parse_are_named_by_their_line(
    row: str, said: str, server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "judged.csv"
    path.write_text(f"photo,product,grade,category,region\nred.png,p0,3\n{row}\n", encoding="utf-8")
    assert evaluate(server, path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lookalike: {path}: 1 row does not parse (") and said in error
    assert error.endswith("Mend the file; --skip-problems leaves them out\n") and not server.requests
    assert evaluate(server, path, "--skip-problems", "--json") == 1
    answer = told(capsys)
    assert answer["queries"] == 1 and answer["left_out"]["rows"][0]["line"] == 3


def test_a_file_may_be_written_in_several_ways(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "judged.csv"
    text = (
        "\ufeffproduct;grade;photo;comment;region\n"
        "p0; 3 ;red.png;near;0.1 0.1 0.9 0.9\n\n"
        "p0;3;red.png;said twice;0.1, 0.1, 0.9, 0.9\n"
        "catalogs/default/products/p1;0;red.png;;0.1 0.1 0.9 0.9\n"
    )
    path.write_text(text, encoding="utf-8")
    assert evaluate(server, path, "--json") == 0
    [query] = told(capsys)["per_query"]
    assert query["grades"] == {"p0": 3, "p1": 0} and query["region"] == [0.1, 0.1, 0.9, 0.9]


def test_photos_that_are_gone_are_named_before_the_first_search(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = judged(tmp_path)
    (tmp_path / "green.png").unlink()
    (tmp_path / "tan.png").unlink()
    assert evaluate(server, path) == 2
    said = f"2 photos cannot be used (line 4: there is no photo {tmp_path}/green.png; line 20: there is no photo"
    assert said in capsys.readouterr().err and not server.requests
    assert evaluate(server, path, "--skip-problems", "--json") == 1
    answer = told(capsys)
    assert answer["queries"] == 10 and [photo["line"] for photo in answer["left_out"]["photos"]] == [4, 20]


def test_photos_that_the_server_does_not_take_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.jpg").write_bytes(photo({"look": "red dress"}))
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    path = write_judged(tmp_path / "judged.csv", [("good.jpg", "sku-1", 1), ("bad.jpg", "sku-1", 1)])

    def run(*arguments: str) -> int:
        async def serve_and_run() -> int:
            async with open_shop() as shop:
                await shop.bring([product("sku-1", "red dress")])
                server = f"127.0.0.1:{shop.gateway.port}"
                return await asyncio.to_thread(main, ["evaluate", str(path), "--server", server, *arguments])

        return asyncio.run(serve_and_run())

    assert run() == 2
    said = (
        "line 3: the server does not take the photo bad.jpg (these bytes are no image); --skip-problems leaves it out"
    )
    assert said in capsys.readouterr().err
    assert run("--skip-problems", "--json") == 1
    answer = told(capsys)
    assert answer["queries"] == 1 and answer["versions"][0]["means"]["MRR"]["mean"] == 1
    path.write_text("photo,product,grade\nbad.jpg,sku-1,1\n")
    assert run("--skip-problems") == 2
    assert "of the photos that can be used, no query has a relevant product" in capsys.readouterr().err


def test_photos_come_from_addresses_too(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with website({"/red.png": (tmp_path / "red.png").read_bytes()}) as site:
        rows = [(f"{site.url}/red.png", "p0", 3), (f"{site.url}/nowhere.png", "p1", 3), ("file:///etc/hosts", "p2", 3)]
        path = write_judged(tmp_path / "judged.csv", rows)
        assert evaluate(server, path, "--skip-problems", "--json") == 1
    answer = told(capsys)
    assert answer["queries"] == 1 and answer["versions"][0]["means"]["recall@10"]["mean"] == 1
    missing, local = answer["left_out"]["photos"]
    assert "nowhere.png cannot be read (404" in missing["reason"]
    assert "addresses of file:// are not read" in local["reason"]


def test_a_file_without_a_relevant_product_measures_nothing(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_judged(tmp_path / "judged.csv", [("red.png", "p0", 0), ("blue.png", "p1", 2)])
    assert evaluate(server, path, "--relevant", 3) == 2
    assert "none of 2 queries has a product of grade 3 or more that the catalog has" in capsys.readouterr().err
    assert not server.searches()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "has no column 'photo'; its first line names the columns photo, product, grade"),
        (b"photo,product\nred.png,p0\n", "has no column 'grade'"),
        (
            b"photo,product,grade,regions\n",
            "has a column 'regions'; the columns are photo, query_product, product, grade, category",
        ),
        (b"photo,product,grade,grade\n", "has the column 'grade' twice"),
        (b"photo,product,grade\n\n", "has no row below its first line"),
        ("photo,product,grade\nm\u00fctze.png,p0,1\n".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_file_that_is_none_is_explained(
    content: bytes | None, said: str, server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "judged.csv"
    if content is not None:
        path.write_bytes(content)
    assert evaluate(server, path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lookalike: {path} {said}") and not server.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--embedding-version", 1) * 3, "is given once, or twice to compare two different versions"),
        (("--embedding-version", 1) * 2, "is given once, or twice to compare two different versions"),
        (("--report", "report.pdf"), "report.pdf is no page's name; end it with one of .html, .htm"),
        (("--report", "no/report.html"), "the folder of no/report.html does not exist"),
        (("--images", "images"), "--images is for the report: name its file with --report"),
    ],
)
def test_wrong_usage_is_found_before_anything_is_asked(
    arguments: tuple[object, ...], said: str, server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(server, judged(tmp_path), *arguments) == 2
    assert said in capsys.readouterr().err and not server.requests


@pytest.mark.parametrize("wrong", [("--k", "0"), ("--relevant", "0"), ("--depth", "-3"), ("--embedding-version", "x")])
def test_numbers_that_are_none_are_refused(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "judged.csv", *wrong])
    assert ended.value.code == 2 and "evaluate: argument" in capsys.readouterr().err


def test_trouble_of_the_server_ends_it(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(JudgedServer):
        def _search(self, request: Any) -> Any:  # noqa: ANN401 - any message
            return failure(grpc.StatusCode.INTERNAL, "internal error", reason="INTERNAL")

    broken = Broken(products=set(PRODUCTS))
    assert evaluate(broken, judged(tmp_path)) == 3
    assert "INTERNAL: internal error" in capsys.readouterr().err
