"""Take the pictures of docs/page.md: the rendered wardrobe in the embedded stack, on a desktop and on a phone."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Browser, expect

from lookalike import cli
from lookalike_service.embedded.stack import serving
from lookalike_service.wardrobe import Item, choose_outfit, make_items, render_outfit, write_catalog
from support_page import CARD, CHROMIUM, Visit, browser_of, visiting
from support_stack import jpeg

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
BUILD = Path("build") / "page"
MOST_BYTES = 400_000
ITEMS = make_items(90, seed=11)
PHONE: dict[str, Any] = {"size": (390, 844), "device_scale_factor": 1.25, "is_mobile": True, "has_touch": True}


def main() -> int:
    """0 when all pictures are written."""
    if not CHROMIUM.exists():
        print(f"there is no {CHROMIUM}; on Debian `apt-get install chromium` brings it", file=sys.stderr)
        return 1
    catalog = write_catalog(BUILD / "wardrobe", items=ITEMS, views=(0,))
    with serving(BUILD / "state") as address:
        if cli.main(["--server", address, "import", str(catalog)]):
            return 1
        url = f"http://{(BUILD / 'state' / 'run' / 'page').read_text().strip()}"
        with browser_of() as browser:
            _take(browser, url)
    return 0


def _take(browser: Browser, url: str) -> None:
    worn = max((choose_outfit(ITEMS, seed=seed) for seed in range(12)), key=_parts)
    photo = jpeg(render_outfit(worn, seed=3).image)
    with visiting(browser, url, size=(1180, 790)) as visit:
        _show(visit, photo)
        _write(visit, "page_desktop")
        visit.page.locator(CARD).nth(2).locator(".card-open").click()
        expect(visit.page.locator("#product .picture.there")).not_to_have_count(0)
        visit.page.wait_for_load_state("networkidle")
        _write(visit, "page_product")
    with visiting(browser, url, color_scheme="dark", **PHONE) as visit:
        _show(visit, photo)
        _write(visit, "page_phone")


def _parts(worn: list[Item]) -> tuple[bool, int]:
    return any(item.category == "outer" for item in worn), len(worn)


def _show(visit: Visit, photo: bytes) -> None:
    visit.found(photo)
    visit.page.get_by_role("button", name="Outerwear").click()
    expect(visit.page.locator(".picture.there").first).to_be_visible()
    visit.page.wait_for_load_state("networkidle")


def _write(visit: Visit, name: str) -> None:
    shot = Image.open(io.BytesIO(visit.page.screenshot(animations="disabled"))).convert("RGB")
    path = PICTURES / f"{name}.png"
    # Photographs have noise that nobody sees; it goes with the last bits, and the colors stay.
    for bits in (8, 7, 6, 5, 4):
        ImageOps.posterize(shot, bits).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path}: {path.stat().st_size:,} bytes, {bits} bits a color")


if __name__ == "__main__":
    sys.exit(main())
