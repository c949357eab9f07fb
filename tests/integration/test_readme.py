"""What README and the quick start tell people to type runs as it is printed."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from lookalike import cli
from lookalike_service.wardrobe import Item
from support_stack import Stack

ROOT = Path(__file__).parents[2]
MARK = "<!-- run by tests/integration/test_readme.py -->\n"


@pytest.fixture
def photo(outfit: tuple[bytes, list[Item]], tmp_path: Path) -> Path:
    path = tmp_path / "street.jpg"
    path.write_bytes(outfit[0])
    return path


def run(page: str, *, stack: Stack, photo: Path) -> list[str]:
    """Run the marked Python of a page; gives what it prints."""
    code = re.search(rf"{MARK}```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert code
    source = code[1].replace("127.0.0.1:50051", stack.address).replace('"street.jpg"', repr(str(photo)))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, page, "exec"), {})
    return printed.getvalue().splitlines()


def test_the_search_in_readme(stack: Stack, photo: Path) -> None:
    lines = run("README.md", stack=stack, photo=photo)
    assert len(lines) >= 2
    assert all(line.count("(") == 5 for line in lines)


def test_the_search_in_the_quick_start(stack: Stack, photo: Path) -> None:
    lines = run("docs/quick_start.md", stack=stack, photo=photo)
    garments = [line for line in lines[:-1] if not line.startswith(" ")]
    assert len(garments) >= 2 and len(lines) == 6 * len(garments) + 1
    assert re.fullmatch(r"\d+ of them below 50 euros", lines[-1])


def test_the_commands_of_the_quick_start(
    stack: Stack, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    block = re.search(rf"{MARK}\n((?:    .*\n)+)", (ROOT / "docs/quick_start.md").read_text())
    assert block
    commands = [line.split() for line in block[1].splitlines()]
    assert [command[1] for command in commands] == ["import", "search", "analyze"]
    for program, *words in commands:
        assert program == ".venv/bin/lookalike"
        given = [str(stack.catalog) if word.endswith("products.jsonl") else word for word in words]
        assert cli.main(["--server", stack.address, *given]) == 0
    assert (photo.parent / "found.png").stat().st_size > 10_000
    assert "unchanged" in capsys.readouterr().out
