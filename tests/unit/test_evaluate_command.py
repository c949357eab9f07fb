"""`lookalike evaluate` against real gRPC servers on a free port."""

from __future__ import annotations

import asyncio
import re
from math import log2
from pathlib import Path

import pytest

from fakes import photo
from lookalike.cli import main
from lookalike.evaluate.judgments import read_judgments
from support_gateway import open_shop, product
from support_judged import PRODUCTS, JudgedServer, evaluate, judged, told, two_versions, write_judged


@pytest.fixture
def server(tmp_path: Path) -> JudgedServer:
    """Two versions, and twelve photos beside the judged file."""
    return two_versions(tmp_path)


# One version


def test_the_means_are_those_of_the_queries(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(server, judged(tmp_path), "--json", "--k", 2, "--k", 5) == 0
    answer = told(capsys)
    assert (answer["queries"], answer["photos"], answer["unanswerable_queries"]) == (12, 12, 0)
    [version] = answer["versions"]
    assert version["embedding_version"] == 1
    means = {name: interval["mean"] for name, interval in version["means"].items()}
    assert means == pytest.approx(
        {
            "nDCG@2": 0, "precision@2": 0, "recall@2": 0, "hit rate@2": 0, "judged@2": 1 / 2,
            "nDCG@5": 1 / log2(4), "precision@5": 1 / 5, "recall@5": 1, "hit rate@5": 1, "judged@5": 2 / 3,
            "mAP": 1 / 3, "MRR": 1 / 3,
        }
    )  # fmt: skip
    assert version["means"]["mAP"]["low"] == pytest.approx(1 / 3) == version["means"]["mAP"]["high"]
    assert answer["comparison"] is None and answer["left_out"] == {"rows": [], "products": {}, "photos": []}
    query = answer["per_query"][1]
    assert query["photo"] == "green.png" and query["line"] == 4 and query["grades"] == {"p1": 3, "p20": 0}
    assert query["versions"][0]["ranking"] == ["p20", "p21", "p1"]
    assert query["versions"][0]["figures"]["AP"] == pytest.approx(1 / 3)


def test_the_table_is_plain_when_piped(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(server, judged(tmp_path)) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == "12 queries on 12 photos, relevant from grade 1"
    assert re.match(r"mean of the queries +version 1 +95 %$", lines[1])
    assert re.match(r"nDCG@10 +0\.500 +0\.500 to 0\.500$", lines[2])
    assert "\x1b" not in output.out and output.err == "" and "note:" not in output.out


def test_searches_carry_what_the_options_say(server: JudgedServer, tmp_path: Path) -> None:
    options = ("--filter", "price < 5000", "--category-mode", "strict", "--color-weight", 0.5, "--depth", 30)
    assert evaluate(server, judged(tmp_path, ["red.png"]), *options) == 0
    [search] = server.searches()
    assert (search.filter, search.category_mode, search.reranking.color_weight, search.page_size) == (
        "price < 5000",
        3,
        0.5,
        30,
    )
    assert search.embedding_version == 0


def test_a_photo_is_sent_once_however_many_garments_are_judged(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.garments = ("shoes", "top/polo", "top/t-shirt")
    rows: list[tuple[object, ...]] = [("red.png", "p0", 3, category) for category in ("top/t-shirt", "TOP", "hat", "")]
    rows += [("red.png", "p0", 3, "dress", f"0.{place:02},0.2,0.9,0.9") for place in range(17)]
    server.found[1] = {content: ["p1", "p0"] for content in server.found[1]}
    rows += [(*row[:1], "p1", 0, *row[3:]) for row in rows]
    assert evaluate(server, write_judged(tmp_path / "judged.csv", rows), "--json") == 0
    assert [len(search.regions) for search in server.searches()] == [16, 1, 0]
    assert server.searches()[0].regions[1].box.x0 == pytest.approx(0.01)
    answer = told(capsys)
    queries = {(each["category"], bool(each["region"])): each for each in answer["per_query"]}
    assert answer["queries"] == 21 and answer["photos"] == 1
    found = {key: each["versions"][0]["garment_found"] for key, each in queries.items()}
    assert found == {("top/t-shirt", False): True, ("top", False): True, ("hat", False): False, ("", False): True,
                     ("dress", True): True}  # fmt: skip
    assert queries["hat", False]["versions"][0]["figures"]["recall@10"] == 0
    # One photo says nothing of others.
    assert answer["versions"][0]["means"]["mAP"]["low"] is None
    assert answer["notes"] == [
        "no garment of the category was found on the photo in 1 query, where nothing is found: hat (1)",
        "1 photo with several garments and no word of which is meant: the surest one was taken; a column category or "
        "region says it",
    ]


def test_pages_are_fetched_down_to_the_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real gateway over fake models; its pages hold fewer than are asked for."""
    (tmp_path / "a.jpg").write_bytes(photo({"look": "bag", "category": "bag"}, {"look": "look 3", "category": "dress"}))
    path = write_judged(tmp_path / "judged.csv", [("a.jpg", f"sku-{number}", 1, "dress") for number in range(3, 6)])

    async def serve_and_run() -> int:
        async with open_shop(max_page_size=4) as shop:
            await shop.bring(product(f"sku-{number}", f"look {number}") for number in range(12))
            server = f"127.0.0.1:{shop.gateway.port}"
            return await asyncio.to_thread(
                main, ["evaluate", str(path), "--server", server, "--depth", "11", "--k", "1", "--json"]
            )

    assert asyncio.run(serve_and_run()) == 0
    answer = told(capsys)
    ranking = answer["per_query"][0]["versions"][0]["ranking"]
    assert len(ranking) == len(set(ranking)) == 11 and ranking[0] == "sku-3"
    assert answer["versions"][0]["means"]["recall@1"]["mean"] == pytest.approx(1 / 3)
    assert answer["versions"][0]["means"]["mAP"]["mean"] > 1 / 3


# Two versions


VERSIONS = ("--embedding-version", 1, "--embedding-version", 2)


def test_the_better_version_is_named(server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(server, judged(tmp_path), *VERSIONS) == 0
    output = capsys.readouterr().out
    assert re.search(r"^mean of the queries +version 1 +95 % +version 2 +95 % +difference +95 %$", output, re.M)
    assert re.search(r"^MRR +0\.333 .* 1\.000 .* \+0\.667 +\+0\.667 to \+0\.667$", output, re.M)
    assert (
        "version 2 is better than version 1: its nDCG@10 is 0.500 higher (95 % interval 0.500 to 0.500, p < 0.001)"
        in output
    )
    asked = [(search.image, search.embedding_version) for search in server.searches()]
    assert len(asked) == len(set(asked)) == 24
    assert evaluate(server, judged(tmp_path), *VERSIONS[2:], *VERSIONS[:2], "--json") == 0
    comparison = told(capsys)["comparison"]
    assert comparison["verdict"].startswith("version 2 is better than version 1: its nDCG@10 is 0.500 higher")
    assert comparison["differences"]["mAP"]["mean"] == pytest.approx(-2 / 3) and comparison["p"] == 2 / 2**12


def test_too_few_photos_cannot_tell(server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(server, judged(tmp_path, ["red.png", "green.png", "blue.png"]), *VERSIONS) == 0
    said = (
        "which is better cannot be told from 3 photos: nDCG@10 of version 2 is 0.500 higher "
        "(95 % interval +0.500 to +0.500, p = 0.250); if it is really that large, about 6 photos would show it"
    )
    assert said in capsys.readouterr().out
    assert evaluate(server, judged(tmp_path, ["red.png"]), *VERSIONS) == 0
    assert "cannot be told from 1 photo: nDCG@10 of version 2 is 0.500 higher\n" in capsys.readouterr().out


def test_versions_that_find_the_same_are_equal(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.found[2] = server.found[1]
    assert evaluate(server, judged(tmp_path), *VERSIONS) == 0
    assert "versions 1 and 2 do equally well: nDCG@10 is the same for every query" in capsys.readouterr().out


def test_products_that_nobody_judged_cast_doubt(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.found[2] = {content: [*ids[:1], *PRODUCTS[22:]] for content, ids in server.found[2].items()}
    assert evaluate(server, judged(tmp_path), *VERSIONS) == 0
    said = "note: version 2 puts more products on top that nobody judged (judged@10 0.11 against 0.67): they count as"
    assert said in capsys.readouterr().out
    assert evaluate(server, judged(tmp_path), "--embedding-version", 2) == 0
    assert "note: judged@10 is 0.11: most of what is found was never judged" in capsys.readouterr().out


def test_a_version_that_is_not_served_is_the_servers_to_say(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(server, judged(tmp_path), "--embedding-version", 9) == 3
    assert "embedding version 9 is not served" in capsys.readouterr().err


def test_a_server_that_switches_midway_gives_no_figures(
    server: JudgedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.chosen = [1, 1, 2]
    assert evaluate(server, judged(tmp_path), "--json") == 2
    output = capsys.readouterr()
    assert "the server answered with several embedding versions (1, 2)" in output.err and output.out == ""


# The guide


def test_the_example_and_the_code_of_the_guide_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
    [example] = re.findall(r"((?:^    [^\n]*\n)*^    photo,product,grade.*?)\n\n", guide, re.MULTILINE | re.DOTALL)
    path = tmp_path / "judged.csv"
    path.write_text("\n".join(line.strip() for line in example.splitlines()))
    read = read_judgments(path)
    assert [len(query.grades) for query in read.queries] == [3, 1, 1] and not read.problems
    [snippet] = re.findall(
        r"<!-- run by tests/unit/test_evaluate_command.py -->\n```python\n(.*?)```", guide, re.DOTALL
    )
    exec(compile(snippet, "docs/evaluation.md", "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out.splitlines() == ["nDCG@2 0.735", "recall@2 0.75", "AP 0.917"]
