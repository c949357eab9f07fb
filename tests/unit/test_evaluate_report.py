"""The page of `lookalike evaluate`: what it shows, and that it needs and trusts nothing beside it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from support_http import website
from support_judged import JudgedServer, evaluate, picture, write_judged

EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[Image.Image]:
        sources = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]

    def cards(self) -> list[str]:
        kinds = [attributes.get("class") or "" for tag, attributes in self.tags if tag == "div"]
        return [kind.removeprefix("card ") for kind in kinds if kind.startswith("card ")]


@pytest.fixture
def server(tmp_path: Path) -> JudgedServer:
    """Two photos and four products; the red photo finds the wrong ones first."""
    contents = {name: picture(name)[0] for name in ("red", "blue")}
    for name, content in contents.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    colors = {"good": "gold", "bad": "gray", "new": "navy", "far": "tan"}
    return JudgedServer(
        products=set(colors),
        found={
            1: {contents["red"]: ["bad", "new", "good"], contents["blue"]: ["good"]},
            2: {contents["red"]: ["good", "far"], contents["blue"]: ["bad"]},
        },
        titles={"good": EVIL, "bad": "Gray \x1b[31m skirt", "far": "Tan & white"},
        uris={"good": "https://shop.example/?a=1&b=2", "bad": "javascript:alert(1)", "new": "http://["},
        image_ids={id: picture(color, folder=tmp_path / "images")[1] for id, color in colors.items()},
    )


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    rows = [("red.png", "good", 3), ("red.png", "far", 1), ("red.png", "bad", 0), ("blue.png", "good", 2)]
    return write_judged(tmp_path / "judged.csv", rows)


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.convert("RGB").getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def page(server: JudgedServer, judged: Path, *arguments: object) -> Page:
    path = judged.parent / "report.html"
    assert evaluate(server, judged, "--report", path, *arguments) == 0
    return Page(path.read_text(encoding="utf-8"))


def test_the_worst_queries_are_shown_with_their_pictures(
    server: JudgedServer, judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = page(server, judged, "--images", tmp_path / "images")
    assert capsys.readouterr().out.endswith(f"report {tmp_path}/report.html\n")
    # What was found in its order, then what should have been, the highest grade first. The other query is perfect.
    assert report.cards() == ["bad", "unjudged", "good", "good", "lost"]
    assert "The worst queries by nDCG@10" in report.text and "red.png" in report.text
    assert "grade 3rank 3" in report.text and "grade 1not in 3" in report.text
    photo, first, *_ = report.images()
    assert len(report.images()) == 6
    # The photo with a frame around the garment; gray was found first.
    assert photo.size == (60, 80)
    assert pixel(photo, 3, 3)[0] > 230 and pixel(photo, 16, 40)[2] > 100
    assert all(abs(value - 128) < 12 for value in pixel(first, 30, 40))


def test_it_needs_and_trusts_nothing_beside_it(server: JudgedServer, judged: Path, tmp_path: Path) -> None:
    report = page(server, judged, "--images", tmp_path / "images")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in report.tags}
    assert EVIL in report.text and "Tan & white" in report.text and "\x1b" not in report.text
    links = [attributes["href"] for tag, attributes in report.tags if tag == "a"]
    assert set(links) == {"https://shop.example/?a=1&b=2", "http://["}
    assert not any(name.startswith("on") for _, attributes in report.tags for name in attributes)
    assert "url(" not in (tmp_path / "report.html").read_text()


def test_two_versions_are_shown_where_they_differ(server: JudgedServer, judged: Path) -> None:
    report = page(server, judged, "--embedding-version", 1, "--embedding-version", 2, "--worst", 1)
    # At their best the two versions found the right product first on either photo.
    assert "The worst queries of both" not in report.text
    where = [report.text.index(f"Where version {a} is better than version {b}") for a, b in ((1, 2), (2, 1))]
    assert where[0] < report.text.index("blue.png") < where[1] < report.text.index("red.png")
    assert "Which is better cannot be told from 2 photos" in report.text
    assert "grade 3rank 3 / rank 1" in report.text and report.text.count("difference") == 1


def test_without_pictures_there_are_titles(server: JudgedServer, judged: Path, tmp_path: Path) -> None:
    assert len(page(server, judged).images()) == 1
    for path in (tmp_path / "images").rglob("*"):
        if path.is_file():
            path.write_bytes(b"no picture")
    server.image_ids["good"] = "../../judged.csv"
    assert len(page(server, judged, "--images", tmp_path / "images").images()) == 1


def test_pictures_come_from_addresses_too(server: JudgedServer, judged: Path, tmp_path: Path) -> None:
    content, image_id = picture("gold")
    with website({f"/store/{image_id[:2]}/{image_id[2:4]}/{image_id}": content}) as site:
        # The photo, and the one product twice; the others are not there.
        assert len(page(server, judged, "--images", f"{site.url}/store").images()) == 3


def test_left_out_and_notes_stand_on_the_page(server: JudgedServer, judged: Path, tmp_path: Path) -> None:
    with judged.open("a") as file:
        file.write("red.png,<b>,1\nred.png,gone,1\n")
    path = tmp_path / "report.html"
    assert evaluate(server, judged, "--report", path, "--skip-problems", "--json") == 1
    report = Page(path.read_text())
    assert "left out: 1 row does not parse (line 6: the product is '<b>'" in report.text
    assert "left out: 1 product that the catalog does not have (gone on line 7)" in report.text
    assert not any(tag == "b" and not report.text for tag, _ in report.tags)


def test_a_perfect_evaluation_has_no_worst_query(server: JudgedServer, tmp_path: Path) -> None:
    report = page(server, write_judged(tmp_path / "judged.csv", [("blue.png", "good", 2)]))
    assert report.cards() == [] and "The worst" not in report.text and re.search(r"nDCG@10\s*1\.000", report.text)


def test_a_report_that_cannot_be_written_is_said(
    server: JudgedServer, judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()
    assert evaluate(server, judged, "--report", tmp_path / "report.html") == 2
    output = capsys.readouterr()
    # The figures are not lost with it.
    assert "report.html cannot be written (Is a directory)" in output.err and "nDCG@10" in output.out
