"""`lookalike import` against a real server on a free port."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import grpc
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import lookalike
from lookalike.cli import main
from lookalike.cli.progress import LineProgress
from support_client import Script, failure, serving
from support_http import website


@pytest.fixture
def script() -> Script:
    script = Script()
    script.gate.set()
    return script


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, beside the one of the catalog."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "a.jpg").write_bytes(b"image")
    return folder


def call(script: Script, *arguments: object) -> int:
    """Run the command against a server that follows the script."""

    async def serve_and_run() -> int:
        async with serving(script) as address:
            return await asyncio.to_thread(main, ["--server", address, *map(str, arguments)])

    return asyncio.run(serve_and_run())


def write_lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def encoded(kind: str = "JPEG") -> bytes:
    content = BytesIO()
    Image.radial_gradient("L").convert("RGB").save(content, kind)
    return content.getvalue()


ROWS = (
    {"id": "good", "image": "a.jpg"},
    {"id": "bare"},
    {"id": "broken", "image": "a.jpg"},
    {"id": "gone", "image": "b.jpg"},
    {"id": "fine", "image": "a.jpg"},
)


def test_an_import_reports_every_failure_and_counts(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "products.jsonl", *ROWS)
    script.failing = {"catalogs/summer/products/broken"}
    assert call(script, "import", path, "--catalog", "summer") == 1
    output = capsys.readouterr()
    assert sorted(output.err.splitlines()) == [
        f"{path} row 2 (bare): has no image",
        f"{path} row 3 (broken): IMAGE_UNREADABLE: the image is truncated",
        f"{path} row 4 (gone): the image b.jpg cannot be read (No such file or directory)",
        "what failed is in products-failures.jsonl; mend it and import it",
    ]
    assert re.fullmatch(r"imported 2 products \(2 new\), 3 failed, in \d+\.\d s \([\d.]+/s\)\n", output.out)
    assert script.imported == [[f"catalogs/summer/products/{name}" for name in ("good", "broken", "fine")]]


def test_an_import_without_failures_ends_with_zero(
    script: Script, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"image")
    assert call(script, "import", tmp_path, "--category", "dress") == 0
    assert capsys.readouterr().out.startswith("imported 4 products (4 new), 0 failed")
    assert list(folder.iterdir()) == []


def test_what_the_server_cannot_do_at_the_moment_is_sent_again(script: Script, tmp_path: Path) -> None:
    away = failure(grpc.StatusCode.UNAVAILABLE, "away", reason="MODEL_UNAVAILABLE", retry_after=0.01)
    script.passing = {"catalogs/default/products/a": deque([away, away])}
    assert call(script, "import", tmp_path) == 0
    assert len(script.imported[0]) == 3


# Failures that can be imported again


def test_failures_of_json_lines(script: Script, tmp_path: Path, folder: Path) -> None:
    path = write_lines(tmp_path / "products.jsonl", *ROWS)
    with path.open("a") as file:
        file.write("{broken\n")
    script.failing = {"catalogs/default/products/broken"}
    assert call(script, "import", path) == 1
    lines = (folder / "products-failures.jsonl").read_text().splitlines()
    records = [line for line in lines if line != "{broken"]
    # There is no telling where in it a reason could stand.
    assert len(records) == len(lines) - 1
    assert {json.loads(line)["id"]: json.loads(line)["failure"] for line in records} == {
        "bare": "has no image",
        "broken": "IMAGE_UNREADABLE: the image is truncated",
        "gone": "the image b.jpg cannot be read (No such file or directory)",
    }
    # The file lies elsewhere, so its images have whole paths; what was mended goes through.
    (tmp_path / "b.jpg").write_bytes(b"image")
    script.failing = set()
    script.imported.clear()
    assert call(script, "import", "products-failures.jsonl") == 1
    assert sorted(script.imported[0]) == [f"catalogs/default/products/{name}" for name in ("broken", "gone")]
    # A new file every time.
    assert len((folder / "products-failures-2.jsonl").read_text().splitlines()) == 2


def test_failures_beside_the_catalog_keep_their_paths(script: Script, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "products.jsonl", {"id": "gone", "images": [{"path": "b.jpg", "category": "hat"}]})
    assert call(script, "import", path, "--failures", tmp_path / "again.jsonl") == 1
    (line,) = (tmp_path / "again.jsonl").read_text().splitlines()
    assert json.loads(line)["images"] == [{"path": "b.jpg", "category": "hat"}]


def test_failures_of_csv(script: Script, tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(
        "id;title;price;currency;images\n"
        'x;"Linen;\n""long""";49.00;EUR;a.jpg | a.jpg\n'
        "y;;;;a.jpg;too;many\n"
        "z;;;;a.jpg\n"
    )
    assert call(script, "import", path) == 1
    failures = folder / "shop-failures.csv"
    with failures.open(newline="") as file:
        header, first, second = csv.reader(file, delimiter=";")
    assert header == ["failure", "id", "title", "price", "currency", "images"]
    assert first[0].startswith("the price is 49.00; write it in minor units") and first[2] == 'Linen;\n"long"'
    assert first[5] == f"{tmp_path / 'a.jpg'}|{tmp_path / 'a.jpg'}"
    assert second[0] == "has 7 cells, but there are 5 columns" and second[-2:] == ["too", "many"]
    failures.write_text(failures.read_text().replace("49.00", "4900").replace(";too;many", ""))
    script.imported.clear()
    assert call(script, "import", failures) == 0
    assert script.imported == [["catalogs/default/products/x", "catalogs/default/products/y"]]


def test_failures_of_parquet(script: Script, tmp_path: Path, folder: Path) -> None:
    count = 150
    sizes = pyarrow.map_(pyarrow.string(), pyarrow.float64())
    table = pyarrow.table(
        {
            "id": [f"p{number}" for number in range(count)],
            "images": [["b.jpg"]] * count,
            "price": pyarrow.array([100] * count, pyarrow.int16()),
            "currency": pyarrow.array(["EUR"] * count).dictionary_encode(),
            "attributes": pyarrow.array([[("size", float(number))] for number in range(count)], sizes),
        }
    )
    path = tmp_path / "products.parquet"
    pyarrow.parquet.write_table(table, path)
    assert call(script, "import", path) == 1
    failed = pyarrow.parquet.read_table(folder / "products-failures.parquet")
    assert failed.column_names == ["failure", *table.column_names]
    assert failed.schema.field("price").type == pyarrow.int16()
    assert failed.drop_columns(["failure", "images"]).equals(table.drop_columns(["images"]))
    assert failed["images"][0].as_py() == [str(tmp_path / "b.jpg")]
    (tmp_path / "b.jpg").write_bytes(b"image")
    assert call(script, "import", "products-failures.parquet") == 0
    assert len(script.imported[1]) == count


def test_failures_of_a_folder_keep_id_and_category(script: Script, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "shop/dresses").mkdir(parents=True)
    (tmp_path / "shop/dresses/red linen.jpg").write_bytes(b"image")
    script.failing = {"catalogs/default/products/dresses-red-linen"}
    assert call(script, "import", tmp_path / "shop") == 1
    script.failing = set()
    assert call(script, "import", "shop-failures.jsonl") == 0
    assert script.imported == [["catalogs/default/products/dresses-red-linen"]] * 2
    assert json.loads((folder / "shop-failures.jsonl").read_text())["category"] == "dress"


def test_failures_of_a_catalog_at_an_address(script: Script, folder: Path) -> None:
    rows = b'{"id": "x", "image": "images/x.jpg"}\n{"id": "y", "image": "images/y.jpg"}\n'
    with website({"/shop/products.jsonl": rows, "/shop/images/x.jpg": b"x"}) as site:
        assert call(script, "import", f"{site.url}/shop/products.jsonl") == 1
        record = json.loads((folder / "products-failures.jsonl").read_text())
        assert record["failure"] == "the image images/y.jpg cannot be fetched (404 Not Found)"
        assert record["image"] == f"{site.url}/shop/images/y.jpg"
        site.files["/shop/images/y.jpg"] = b"y"
        assert call(script, "import", "products-failures.jsonl") == 0
    assert script.imported[1] == ["catalogs/default/products/y"]


@pytest.mark.parametrize(
    ("failures", "sentence"),
    [
        ("failures.csv", "must end with .jsonl"),
        ("../products.jsonl", "is the catalog itself"),
        ("/nowhere/failures.jsonl", "cannot be written"),
    ],
)
def test_a_bad_place_for_failures_is_found_first(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], failures: str, sentence: str
) -> None:
    path = write_lines(tmp_path / "products.jsonl", *ROWS)
    assert call(script, "import", path, "--failures", failures) == 2
    assert sentence in capsys.readouterr().err
    assert script.imported == []


def test_a_full_disk_is_said(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("full.jsonl")
    full.symlink_to("/dev/full")
    path = write_lines(tmp_path / "products.jsonl", *ROWS)
    assert call(script, "import", path, "--failures", full) == 2
    output = capsys.readouterr()
    assert "full.jsonl cannot be written (No space left on device)" in output.err
    assert output.out.startswith("imported")


# Dry runs


def test_a_dry_run_reports_everything_and_sends_nothing(
    script: Script, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.jpg").write_bytes(encoded())
    (tmp_path / "good.webp").write_bytes(encoded("WEBP"))
    (tmp_path / "cut.jpg").write_bytes(encoded()[:-400])
    (tmp_path / "cut.png").write_bytes(encoded("PNG")[:-400])
    (tmp_path / "page.jpg").write_bytes(b"<html>not found</html>")
    Image.new("1", (10_000, 6_000)).save(tmp_path / "many.png")
    path = write_lines(
        tmp_path / "products.jsonl",
        {"id": "good", "images": ["good.jpg", "good.webp"]},
        {"id": "a b", "price": 19.99, "currency": "EUR", "images": ["cut.jpg", "missing.jpg"]},
        {"id": "page", "images": ["page.jpg", "cut.png", "many.png"]},
        {"id": "good", "image": "good.jpg"},
    )
    assert call(script, "import", path, "--dry-run") == 1
    output = capsys.readouterr()
    where = re.escape(str(path))
    patterns = [
        rf"{where} row 2 \(a b\): the id is 'a b'; ids are .*",
        rf"{where} row 2 \(a b\): the price is 19\.99; write it in minor units .*",
        rf"{where} row 2 \(a b\): the image cut\.jpg is broken \(.*\)",
        rf"{where} row 2 \(a b\): the image missing\.jpg cannot be read \(No such file or directory\)",
        rf"{where} row 3 \(page\): the image page\.jpg is no JPEG, PNG or WebP \(it begins with b'<html>not fo'\)",
        rf"{where} row 3 \(page\): the image cut\.png is broken \(.*\)",
        rf"{where} row 3 \(page\): the image many\.png has 10000 x 6000 pixels; at most 50,000,000 in all",
        rf"{where} row 4 \(good\): the id is that of row 1",
    ]
    lines = output.err.splitlines()
    assert len(lines) == len(patterns)
    for pattern, line in zip(patterns, lines, strict=True):
        assert re.fullmatch(pattern, line), line
    assert re.fullmatch(r"checked 4 products in \d+\.\d s: 3 with problems\n", output.out)
    assert script.imported == [] and list(folder.iterdir()) == []


def test_a_dry_run_needs_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded())
    path = write_lines(tmp_path / "products.jsonl", {"id": "x", "image": "a.jpg"}, {"id": "y"})
    assert main(["--server", "127.0.0.1:1", "import", str(path), "--dry-run", "--failures", "bad.jsonl"]) == 1
    assert json.loads(Path("bad.jsonl").read_text()) == {"failure": "has no image", "id": "y"}
    assert main(["--server", "127.0.0.1:1", "import", str(tmp_path / "a.jpg"), "--dry-run"]) == 2
    assert "a.jpg is no catalog; give a folder of images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "arguments", "sentence"),
    [
        ("pyarrow", ("import", "../products.parquet"), "reading Parquet needs more packages"),
        ("aiohttp", ("import", "http://127.0.0.1:1/products.csv"), "reading http:// addresses needs more packages"),
        ("fsspec", ("import", "../products.jsonl"), "reading http:// addresses needs more packages"),
        ("s3fs", ("import", "s3://shop/products.csv"), "reading s3:// addresses needs more packages"),
        (
            *("fsspec", ("products", "update", "x", "--image", "http://127.0.0.1:1/a.jpg")),
            "the image http://127.0.0.1:1/a.jpg cannot be read (reading http:// addresses needs more packages",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, package: str, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "products.parquet").write_bytes(b"")
    write_lines(tmp_path / "products.jsonl", {"id": "x", "image": "http://127.0.0.1:1/a.jpg"})
    hide = f"import sys; sys.modules[{package!r}] = None; from lookalike.cli import main; sys.exit(main({arguments}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(lookalike.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", hide], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended.stderr
    assert sentence in ended.stderr and "pip install 'lookalike[import]'" in ended.stderr


# Progress


def test_progress_is_a_line_now_and_then() -> None:
    now = 0.0
    lines: list[str] = []
    progress = LineProgress(lines.append, total=10_000, every=5, clock=lambda: now)
    with progress:
        for number in range(1, 3001):
            now = number / 100
            progress.advance(failed=number % 1000 == 0)
        progress.say("row 7:\x1b[31m broken")
        now += 100
        progress.advance(failed=False)
    assert lines[0] == "500 of 10,000 products, 100.0/s, about 1 min 35 s left"
    assert lines[5] == "3,000 of 10,000 products, 100.0/s, 3 failed, about 1 min 10 s left"
    assert lines[6] == "row 7: [31m broken"
    assert "/s, 3 failed, about" in lines[7] and len(lines) == 8


def test_on_a_terminal_progress_is_a_bar(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jpg").write_bytes(encoded())
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "lookalike", "import", str(tmp_path), "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(Path(lookalike.__file__).parents[1]), "TERM": "xterm"}
    ended = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b"".join(_read_all(master))
    assert ended.wait(60) == 1
    assert b"checking" in shown and b"51/51" in shown and b"1 failed" in shown
    assert b"checked 51 products" in shown


def _read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            # What Linux says when the other side is closed.
            os.close(descriptor)
            return
        if not data:
            return
        yield data
