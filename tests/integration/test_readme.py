"""The search in README runs as it is printed."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from lookalike_service.wardrobe import Item
from support_stack import Stack

README = Path(__file__).parents[2] / "README.md"


def test_the_search_in_readme(stack: Stack, outfit: tuple[bytes, list[Item]], tmp_path: Path) -> None:
    code = re.search(
        r"<!-- run by tests/integration/test_readme.py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL
    )
    assert code
    photo = tmp_path / "street.jpg"
    photo.write_bytes(outfit[0])
    source = code[1].replace("127.0.0.1:50051", stack.address).replace('"street.jpg"', repr(str(photo)))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, str(README), "exec"), {})
    lines = printed.getvalue().splitlines()
    assert len(lines) >= 2
    assert all(line.count("(") == 5 for line in lines)
