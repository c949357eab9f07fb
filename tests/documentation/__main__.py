"""Writes the references, docs/api.md and docs/settings.md; with --check says instead which of them are stale."""

from __future__ import annotations

import argparse
import sys

from documentation import api, settings

__all__ = ["main"]


def main() -> int:
    """0 when they were written or are as they should be; 1 with a sentence per stale page."""
    parser = argparse.ArgumentParser(prog="documentation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a page is stale")
    check = parser.parse_args().check
    stale = 0
    for page, text in ((api.PAGE, api.api_page()), (settings.PAGE, settings.settings_page())):
        if not check:
            page.write_text(text)
            print(f"wrote docs/{page.name}")
        elif not page.exists() or page.read_text() != text:
            print(f"docs/{page.name} is stale; run: make reference", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
