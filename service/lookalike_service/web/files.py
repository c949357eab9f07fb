"""The page's own files: few and small, read once, and told apart by their content when a browser asks again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["STATIC", "routes"]

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def routes() -> list[web.RouteDef]:
    """One per file, and `/` for index.html."""
    found = []
    for path in sorted(STATIC.iterdir()):
        if path.suffix in TYPES:
            file = _File(path.read_bytes(), TYPES[path.suffix])
            found.append(web.get("/" if path.name == "index.html" else f"/{path.name}", file.answer))
    return found


class _File:
    """One file, as it is sent."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._kind = kind
        self._tag = hashlib.sha256(content).hexdigest()[:16]

    async def answer(self, request: web.Request) -> web.Response:
        # A new version of the page is seen at once, an unchanged one is not sent again.
        headers = {"Cache-Control": "no-cache", "ETag": f'"{self._tag}"'}
        if any(each.value == self._tag for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._content, content_type=self._kind, charset="utf-8", headers=headers)
