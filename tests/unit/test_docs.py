"""The pages say what is true of the programs: commands, settings, paths and links hold, references are fresh."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import lookalike
from documentation import api, settings
from documentation.commands import PAGES, ROOT, commands, complaint, prose
from documentation.pictures import LARGEST_BYTES, PICTURES
from lookalike_service.settings import Settings

# Names in capitals that are others': of stores, of Ray, of models of the hub, of terminals, of the example for Node;
# of the load generator; and what a reader puts a folder for.
OTHERS = {
    *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "FSSPEC_HTTP", "FSSPEC_S3"),
    *("LABEL_0", "NOT_SENT", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"),
    *("LOOKALIKE_CA_FILE", "NO_COLOR", "PATH_TO", "PATH_TO_THIS_FOLDER"),
}
FOLDERS = r"(?:client|deploy|docs|export|model_repository|proto|service|tests|\.ci)"


def of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_command_is_understood(page: Path) -> None:
    wrong = [f"line {each.line}: {each.text}: {said}" for each in commands(page) if (said := complaint(each))]
    assert not wrong


def test_commands_are_found_and_wrong_ones_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`make nothing`, `make bench SIZE=1`, `lookalike serach street.jpg`, `python -m this`, `lookalike search`\n"
        "\n    lookalike similar                 # a block is whole\n"
        "    env $(cat run/environment) lookalike reindex 2 --no-swich\n"
        "    LOOKALIKE_WORKERS=2 python -m lookalike_service serve\n"
        "\n```console\n$ pip install '.[cli,servce]'\n```\n```csv\nmake,this\n```\n"
    )
    monkeypatch.setattr("documentation.commands.ROOT", tmp_path)
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    said = {each.text: complaint(each) for each in commands(page)}
    understood = [text for text, wrong in said.items() if not wrong]
    assert understood == ["lookalike search", "LOOKALIKE_WORKERS=2 python -m lookalike_service serve"]
    wrong = " ".join(said.values())
    assert "no target nothing" in wrong and "heeds no SIZE" in wrong and "no extra servce" in wrong
    assert "'serach'" in wrong and "are required: ID" in wrong and "--no-swich" in wrong


def test_there_are_many_commands() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 150


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_settings_and_reasons_are_called_as_they_are(page: Path) -> None:
    ours = {name.upper() for name in Settings.model_fields}
    ours |= {f"LOOKALIKE_{name}" for name in ours} | settings.ELSEWHERE.keys() | OTHERS
    sources = [*ROOT.glob("proto/lookalike/v1/*.proto"), ROOT / ".env.example"]
    elsewhere = " ".join(source.read_text() for source in sources)
    named = {
        name
        for code in re.findall(r"`([^`\n]+)`", prose(page))
        for name in re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", code)
    }
    named |= set(re.findall(r"LOOKALIKE_[A-Z_]*[A-Z]", page.read_text()))
    assert not {name for name in named - ours if not re.search(rf"\b{name}\b", elsewhere)}


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_path_and_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    paths = set(re.findall(rf"(?<![\w/.-])({FOLDERS}/[\w./-]*\w)(?![*<{{])", text))
    assert not {path for path in paths if not (ROOT / path).exists()}
    links = set(re.findall(r"\]\((?!https?:|#)([^)#\s]+)", re.sub(r"`[^`\n]+`", "", text)))
    assert not {link for link in links if not (page.parent / link).exists()}


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_piece_of_python_compiles_and_uses_what_is_public(page: Path) -> None:
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        tree = ast.parse(code)
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        named = {node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "lookalike"}
        named |= {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "lookalike"
            for name in node.names
        }
        assert named <= set(lookalike.__all__), named - set(lookalike.__all__)


def test_the_references_are_fresh() -> None:
    assert settings.PAGE.read_text() == settings.settings_page(), "docs/settings.md is stale; run: make reference"
    assert api.PAGE.read_text() == api.api_page(), "docs/api.md is stale; run: make reference"


def test_the_references_are_whole() -> None:
    manual, contract = settings.PAGE.read_text(), api.PAGE.read_text()
    for name, field in Settings.model_fields.items():
        assert f"### `LOOKALIKE_{name.upper()}`" in manual and field.description
    sources = "\n".join(path.read_text() for path in ROOT.glob("proto/lookalike/v1/*.proto"))
    for name in re.findall(r"^ *(?:message|enum|rpc|service) (\w+)", sources, re.MULTILINE):
        assert re.search(rf"^##+ (?:\w+\.)?{name}$", contract, re.MULTILINE), name
    for name, number in re.findall(
        r"^ *(?:\w+|map<[^>]+>|(?:repeated|optional) \w+) (\w+) = (\d+);", sources, re.MULTILINE
    ):
        assert f"| {number} | `{name}` |" in contract, name


def test_the_pictures_of_the_stages_are_small_enough() -> None:
    for name in (*PICTURES, "search"):
        path = ROOT / "docs" / "pictures" / f"stage_{name}.png"
        assert path.stat().st_size <= LARGEST_BYTES
        with Image.open(path) as picture:
            assert picture.width >= 800


class Fetched(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(given.get("src") or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


def test_the_site_builds_strictly_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    built = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "security.html", "changelog.html", "contributing.html", "api.html"} <= built.keys()
    for name, page in built.items():
        fetched = Fetched()
        fetched.feed(page)
        assert fetched.addresses and not [each for each in fetched.addresses if "//" in each], name
        # A diagram that was not drawn would be drawn by a script from elsewhere.
        assert 'class="mermaid"' not in page
    assert built["architecture.html"].count("<svg id=") == 1
