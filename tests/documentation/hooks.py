"""What mkdocs.yml cannot say: the root's pages, links out of docs/, and diagrams that are drawn while building."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from pathlib import Path
from typing import Any, Final

import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["on_config", "on_files", "on_page_markdown"]

ROOT: Final = Path(__file__).parents[2]
# Pages of the root, as visitors of the repository find them, and their names on the site.
ROOT_PAGES: Final = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# A link or picture of Markdown; those in code are passed over.
LINK: Final = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.DOTALL
)
log: Final = logging.getLogger("mkdocs.hooks.lookalike")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let diagrams become pictures here; in a reader's browser they would need a script from elsewhere."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "mermaid", "class": "mermaid-drawn", "format": _diagram})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root without a copy of them."""
    for source, name in ROOT_PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    config.nav = [*(config.nav or []), *_sections_of_the_rest(files, config)]
    return files


def _sections_of_the_rest(files: Files, config: MkDocsConfig) -> list[dict[str, list[str]]]:
    """Pages that mkdocs.yml places nowhere, such as those of a folder that grows: a section per folder."""
    placed = set(re.findall(r"[\w/.-]+\.md", str(config.nav)))
    sections: dict[str, list[str]] = {}
    # The folder's own index first.
    for path in sorted(
        (file.src_uri for file in files.documentation_pages()), key=lambda path: (path[-8:] != "index.md", path)
    ):
        if path not in placed:
            folder = path.rpartition("/")[0]
            sections.setdefault(folder.rpartition("/")[2].replace("_", " ").capitalize() or "More", []).append(path)
    return [{title: list(paths)} for title, paths in sections.items()]


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ at pages of the site, or at the repository; what is not there is a warning."""
    folder = ROOT if page.file.src_uri in ROOT_PAGES.values() else (ROOT / "docs" / page.file.src_uri).parent

    def pointed(found: re.Match[str]) -> str:
        if found["code"] or re.match(r"[a-z]+:|#", found["target"]):
            return found[0]
        path, _, anchor = found["target"].partition("#")
        target = (folder / path).resolve()
        if not target.exists():
            log.warning("%s links to %s, which is not there", page.file.src_uri, path)
            return found[0]
        inside = _on_site(target)
        if inside is None:
            return _in_repository(found["text"], target, config)
        up = "../" * page.file.src_uri.count("/")
        return f"{found['image']}[{found['text']}]({up}{inside}{'#' if anchor else ''}{anchor})"

    return LINK.sub(pointed, markdown)


def _on_site(target: Path) -> str | None:
    relative = target.relative_to(ROOT)
    if relative == Path("README.md"):
        return "index.md"
    if str(relative) in ROOT_PAGES:
        return ROOT_PAGES[str(relative)]
    return str(relative.relative_to("docs")) if relative.parts[0] == "docs" and target.is_file() else None


def _in_repository(text: str, target: Path, config: MkDocsConfig) -> str:
    """A link where mkdocs.yml names the repository (repo_url), else the words with the path."""
    relative = target.relative_to(ROOT)
    if config.repo_url:
        return f"[{text}]({config.repo_url.rstrip('/')}/{'tree' if target.is_dir() else 'blob'}/main/{relative})"
    return f"`{relative}`" if text.strip("`") in str(relative) else f"{text} (`{relative}`)"


def _diagram(source: str, language: str, css_class: str, options: Any, md: Any, **rest: Any) -> str:  # noqa: ANN401
    return f'<div class="{css_class}">{_drawn(source)}</div>'


@functools.cache
def _drawn(source: str) -> str:
    # Styles of a diagram go by its id, which has to differ from those of others on the page.
    name = f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    return str(mermaidx.render(source).svg()).replace("my-svg", name)
